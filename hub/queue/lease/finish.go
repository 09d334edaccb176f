package lease

import (
	"context"
	"fmt"

	"github.com/slipway-ci/slipway/hub/queue/ledger"
)

// Outcome is how an attempt ended, as its runner says.
type Outcome string

// The outcomes. Sent: add at the end only.
const (
	OutcomeSucceeded Outcome = "succeeded"
	OutcomeFailed    Outcome = "failed"
	OutcomeCancelled Outcome = "cancelled"
	OutcomeTimedOut  Outcome = "timed-out"
)

var outcomeStates = map[Outcome]ledger.State{
	OutcomeSucceeded: ledger.StateSucceeded, OutcomeFailed: ledger.StateFailed,
	OutcomeCancelled: ledger.StateCancelled, OutcomeTimedOut: ledger.StateTimedOut,
}

// Valid says whether o is one of the outcomes.
func (o Outcome) Valid() bool { return outcomeStates[o] != "" }

// Result is what a runner sends at the end.
type Result struct {
	// Outcome becomes the job's state.
	Outcome Outcome
	// ExitCode is nil where the process never ran.
	ExitCode *int
	// Reason is at most 500 characters.
	Reason string
	// LogBytes is how long the log is in all.
	LogBytes int64
}

// Finish ends a job with its runner's result. The same lease may send it again:
// the first one counts. Errors: ErrUnauthorized, ErrLeaseEnded, InvalidError.
func (l *Leases) Finish(ctx context.Context, token string, result Result) error {
	id, _, err := l.signer.parseLease(token)
	if err != nil {
		return err
	}
	if !result.Outcome.Valid() {
		return ledger.Invalid("outcome", "is %.20q: succeeded, failed, cancelled or timed-out is allowed", result.Outcome)
	}
	return l.finish(ctx, id, result)
}

// finish ends a lease with a result.
func (l *Leases) finish(ctx context.Context, id string, result Result) error {
	err := l.ledger.Write(ctx, func(t *ledger.Tx) error {
		lease, found, err := t.Lease(id)
		switch {
		case err != nil:
			return err
		case found && lease.EndedBy == ledger.EndedByResult:
			return nil
		case !found || lease.EndedBy != "":
			return ErrLeaseEnded
		}
		job, err := t.Job(lease.JobID)
		if err != nil {
			return err
		}
		if err := t.EndLease(id, ledger.EndedByResult); err != nil {
			return err
		}
		reason, err := reasonOf(t, job, result)
		if err != nil {
			return err
		}
		return t.Finish(job, outcomeStates[result.Outcome], reason, result.ExitCode, result.LogBytes)
	})
	if err != nil {
		return fmt.Errorf("queue: finish job: %w", err)
	}
	return nil
}

// reasonOf is why a job ended whose runner told it: a runner that was asked to end
// does not know why.
func reasonOf(t *ledger.Tx, job ledger.Job, result Result) (string, error) {
	if result.Outcome != OutcomeCancelled || !job.CancelRequestedAt.IsZero() || job.Runner == "" {
		return result.Reason, nil
	}
	r, found, err := t.Runner(job.Runner)
	if err != nil || !found || r.Ending() == "" {
		return result.Reason, err
	}
	return r.Ending(), nil
}
