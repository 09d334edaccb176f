package lease

import (
	"fmt"

	"github.com/slipway-ci/slipway/hub/queue/ledger"
	"github.com/slipway-ci/slipway/hub/store"
)

// loss is what is known of a job whose lease was lost.
type loss struct {
	// Ours: the runner was a Slipway runner, which has ended by now.
	Ours bool
	// Cancelled: somebody asked for its end.
	Cancelled bool
	// Overtime: it ran past its timeout.
	Overtime bool
	// Unused: the runner never asked what to run, so nothing ran.
	Unused bool
	// Lost counts the leases lost that were used, this one among them if it was;
	// Retries are allowed. LostUnused counts the others.
	Lost, Retries, LostUnused int
}

// maxUnused bounds how often a job is given out for nothing.
const maxUnused = 5

// fate is what becomes of such a job.
type fate struct {
	// Again: it is queued again; else State is final.
	Again  bool
	State  ledger.State
	Reason string
}

// lossOf decides. A runner that is not ours may still be running the job, so that
// job is never run again.
func lossOf(l loss) fate {
	switch {
	case l.Cancelled:
		return fate{State: ledger.StateCancelled, Reason: "cancelled; its runner did not answer"}
	case l.Overtime:
		return fate{State: ledger.StateTimedOut, Reason: "ran past its timeout; its runner did not answer"}
	case !l.Ours:
		return fate{State: ledger.StateFailed, Reason: "its runner, not a Slipway runner, stopped renewing"}
	case l.Unused && l.LostUnused <= maxUnused:
		return fate{Again: true, State: ledger.StateQueued, Reason: "its runner was lost before it began"}
	case !l.Unused && l.Lost <= l.Retries:
		return fate{Again: true, State: ledger.StateQueued, Reason: fmt.Sprintf("runner lost, retry %d of %d", l.Lost, l.Retries)}
	}
	return fate{State: ledger.StateRunnerLost, Reason: "its runner stopped renewing"}
}

// fateOf decides on a job whose lease is lost now.
func fateOf(t *ledger.Tx, job ledger.Job, lease ledger.Lease, overtime bool) (fate, error) {
	known := loss{
		Ours: lease.Ours, Cancelled: !job.CancelRequestedAt.IsZero(), Overtime: overtime,
		Unused: lease.Ours && !lease.Taken, Retries: job.Retries,
	}
	known, _, err := store.One(t.Tx, func(r store.Row) (loss, error) { return known, r.Scan(&known.Lost, &known.LostUnused) },
		`SELECT count(taken_at) + count(CASE WHEN taken_at IS NULL AND NOT ours THEN 1 END), count(CASE WHEN taken_at IS NULL AND ours THEN 1 END)
		FROM leases WHERE job_id = ? AND (ended_by = 'lost' OR id = ?)`, job.ID, lease.ID)
	return lossOf(known), err
}
