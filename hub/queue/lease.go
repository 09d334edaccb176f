package queue

import (
	"context"
	"fmt"
	"time"

	"github.com/slipway-ci/slipway/hub/store"
)

// What ended a lease. Stored: add at the end only.
const (
	endedByResult = "result"
	endedByLoss   = "lost"
	endedByCancel = "cancel"
)

// Lease is what a runner holds on a job.
type Lease struct {
	ID, JobID string
	Attempt   int
	// endedBy is empty while the lease lives; taken says that the runner asked
	// what to run.
	endedBy string
	ours    bool
	taken   bool
	runner  string
}

// lease gives a job to a session. The unique index on live leases of a job makes
// a second one impossible.
func (t *tx) lease(s Session, job Job, ours bool) (Claim, error) {
	claim := Claim{JobID: job.ID, Lease: newID(), Attempt: job.Attempt + 1}
	_, err := t.Exec(`INSERT INTO leases (id, job_id, session_id, runner_id, attempt, ours, created_at) VALUES (?, ?, ?, nullif(?, ''), ?, ?, ?)`,
		claim.Lease, job.ID, s.ID, s.runner, claim.Attempt, ours, millis(t.now))
	if err != nil {
		return claim, err
	}
	if _, err := t.Exec(`UPDATE sessions SET claims = claims + 1 WHERE id = ?`, s.ID); err != nil {
		return claim, err
	}
	if err := t.start(job, claim.Lease, s.runner); err != nil {
		return claim, err
	}
	timeout := job.Timeout
	t.after(func() { t.q.expiresAt(t.q.leases.add(claim.Lease, timeout)) })
	return claim, nil
}

func (t *tx) leaseRow(id string) (Lease, bool, error) {
	return store.One(t.Tx, func(r store.Row) (l Lease, err error) {
		return l, r.Scan(&l.ID, &l.JobID, &l.Attempt, &l.endedBy, &l.ours, &l.taken, &l.runner)
	}, `SELECT id, job_id, attempt, ended_by, ours, taken_at IS NOT NULL, coalesce(runner_id, '') FROM leases WHERE id = ?`, id)
}

// live finds a lease that has not ended, or says ErrLeaseEnded.
func (t *tx) live(id string) (Lease, error) {
	l, found, err := t.leaseRow(id)
	if err == nil && (!found || l.endedBy != "") {
		err = ErrLeaseEnded
	}
	return l, err
}

// endLease ends a lease for good: nothing that comes with it is stored from here on.
func (t *tx) endLease(id, by string) error {
	n, err := t.Exec(`UPDATE leases SET ended_at = ?, ended_by = ? WHERE id = ? AND ended_at IS NULL`, millis(t.now), by, id)
	if err == nil && n == 0 {
		err = ErrLeaseEnded
	}
	t.after(func() { t.q.leases.remove(id) })
	return err
}

// CheckLease reads a lease token. Errors: ErrUnauthorized, ErrLeaseEnded.
func (q *Queue) CheckLease(ctx context.Context, token string) (lease Lease, err error) {
	id, _, err := q.signer.parseLease(token)
	if err != nil {
		return Lease{}, err
	}
	err = q.read(ctx, func(t *tx) error {
		lease, err = t.live(id)
		return err
	})
	return lease, err
}

// WithLease runs do in one write with the check that the lease has not ended: so
// what do stores is stored with a live lease, or not at all. Errors of the check
// are CheckLease's.
func (q *Queue) WithLease(ctx context.Context, token string, do func(*store.Tx, Lease) error) error {
	id, _, err := q.signer.parseLease(token)
	if err != nil {
		return err
	}
	return q.write(ctx, func(t *tx) error {
		lease, err := t.live(id)
		if err != nil {
			return err
		}
		return do(t.Tx, lease)
	})
}

// LeasedJob is what the holder of a lease is told of its job.
type LeasedJob struct {
	Lease Lease
	Job   Job
	// Env holds the values too.
	Env map[string]string
}

// LeasedJob tells a Slipway runner what to run. Asking marks the lease as held by
// one, which keeps the promise to end with its lease, and as taken: from here on
// the job may have begun. Errors are CheckLease's.
func (q *Queue) LeasedJob(ctx context.Context, token string) (leased LeasedJob, err error) {
	id, _, err := q.signer.parseLease(token)
	if err != nil {
		return LeasedJob{}, err
	}
	var sealed []byte
	err = q.write(ctx, func(t *tx) error {
		if leased.Lease, err = t.live(id); err != nil {
			return err
		}
		if leased.Job, err = t.job(leased.Lease.JobID); err != nil {
			return err
		}
		if _, err := t.Exec(`UPDATE leases SET ours = 1, taken_at = coalesce(taken_at, ?) WHERE id = ?`, millis(t.now), id); err != nil {
			return err
		}
		sealed, _, err = store.One(t.Tx, store.Value[[]byte], `SELECT env FROM jobs WHERE id = ?`, leased.Job.ID)
		return err
	})
	if err != nil {
		return LeasedJob{}, err
	}
	leased.Env, err = q.openEnv(leased.Job.ID, sealed)
	return leased, err
}

// Renewal is the answer to a heartbeat.
type Renewal struct {
	// Cancel asks the runner to end the job.
	Cancel bool
	// LeaseToken is a new JWT for the same lease: a secret.
	LeaseToken string
}

// Renew keeps a lease alive. Errors: ErrUnauthorized, ErrLeaseJob, ErrLeaseEnded.
func (q *Queue) Renew(ctx context.Context, token, jobID string) (Renewal, error) {
	id, leased, err := q.signer.parseLease(token)
	if err != nil {
		return Renewal{}, err
	}
	if leased != jobID {
		return Renewal{}, ErrLeaseJob
	}
	var renewal Renewal
	err = q.read(ctx, func(t *tx) error {
		if _, err := t.live(id); err != nil {
			return err
		}
		job, err := t.job(jobID)
		renewal.Cancel = !job.CancelRequestedAt.IsZero()
		return err
	})
	if err != nil {
		return Renewal{}, err
	}
	// The book decides: between the look and here the lease may have ended.
	if !q.leases.renew(id) {
		return Renewal{}, ErrLeaseEnded
	}
	renewal.LeaseToken, err = q.signer.lease(id, jobID)
	return renewal, err
}

// Outcome is how an attempt ended, as its runner says.
type Outcome string

// The outcomes. Sent: add at the end only.
const (
	OutcomeSucceeded Outcome = "succeeded"
	OutcomeFailed    Outcome = "failed"
	OutcomeCancelled Outcome = "cancelled"
	OutcomeTimedOut  Outcome = "timed-out"
)

var outcomeStates = map[Outcome]State{
	OutcomeSucceeded: StateSucceeded, OutcomeFailed: StateFailed,
	OutcomeCancelled: StateCancelled, OutcomeTimedOut: StateTimedOut,
}

// Valid says whether o is one of the outcomes.
func (o Outcome) Valid() bool { return outcomeStates[o] != "" }

// Result is what a runner sends at the end.
type Result struct {
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
func (q *Queue) Finish(ctx context.Context, token string, result Result) error {
	id, _, err := q.signer.parseLease(token)
	if err != nil {
		return err
	}
	if !result.Outcome.Valid() {
		return invalid("outcome", "is %.20q: succeeded, failed, cancelled or timed-out is allowed", result.Outcome)
	}
	err = q.write(ctx, func(t *tx) error {
		lease, found, err := t.leaseRow(id)
		switch {
		case err != nil:
			return err
		case found && lease.endedBy == endedByResult:
			return nil
		case !found || lease.endedBy != "":
			return ErrLeaseEnded
		}
		job, err := t.job(lease.JobID)
		if err != nil {
			return err
		}
		if err := t.endLease(id, endedByResult); err != nil {
			return err
		}
		reason, err := t.reasonOf(job, result)
		if err != nil {
			return err
		}
		return t.finish(job, outcomeStates[result.Outcome], reason, result.ExitCode, result.LogBytes)
	})
	if err != nil {
		return fmt.Errorf("queue: finish job: %w", err)
	}
	return nil
}

// loadLeases gives every lease that had not ended a full life.
func (q *Queue) loadLeases(ctx context.Context) error {
	type row struct {
		id      string
		timeout int64
		started *int64
	}
	var rows []row
	err := q.read(ctx, func(t *tx) (err error) {
		rows, err = store.All(t.Tx, func(r store.Row) (v row, err error) { return v, r.Scan(&v.id, &v.timeout, &v.started) },
			`SELECT l.id, j.timeout, j.started_at FROM leases l JOIN jobs j ON j.id = l.job_id WHERE l.ended_at IS NULL`)
		return err
	})
	if err != nil {
		return fmt.Errorf("queue: load leases: %w", err)
	}
	for _, r := range rows {
		left := time.Duration(r.timeout) * time.Millisecond
		if started := fromNullable(r.started); !started.IsZero() {
			left -= max(time.Since(started), 0)
		}
		q.leases.add(r.id, left)
	}
	return nil
}
