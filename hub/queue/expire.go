package queue

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/slipway-ci/slipway/hub/store"
)

// topicExpiry wakes Run: something may expire sooner than it thinks.
const topicExpiry = "expiry"

const (
	// sweepInterval is how often what is of no use any more is deleted.
	sweepInterval = 10 * time.Minute
	// keepDead is how long expired reservations, tokens and sessions are kept, so
	// that late requests get the right answer.
	keepDead = time.Hour
	// keepEnded is how long ended runners are kept.
	keepEnded = 24 * time.Hour
	// sweepLimit bounds one sweep's deletions per table.
	sweepLimit = 500
)

// Expire ends what has run out: promises and leases. Run calls it; it returns
// when to call it again.
func (q *Queue) Expire(ctx context.Context) (next time.Time, err error) {
	next = time.Now().Add(sweepInterval)
	leases, lease := q.leases.claimLapsed()
	if err := q.endLapsed(ctx, leases); err != nil {
		return next, err
	}
	var promise *int64
	sweep := q.sweepIsDue()
	err = q.write(ctx, func(t *tx) error {
		if err := t.expireReservations(); err != nil {
			return err
		}
		if sweep {
			if err := t.sweep(); err != nil {
				return err
			}
		}
		promise, _, err = store.One(t.Tx, store.Value[*int64], `SELECT min(reserved_until) FROM jobs WHERE state IN ('reserved', 'launched')`)
		return err
	})
	if err != nil {
		return next, fmt.Errorf("queue: expire reservations: %w", err)
	}
	for _, at := range []time.Time{lease, fromNullable(promise)} {
		if !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	return next, nil
}

// sweepIsDue says whether a sweep is due, and then clears what is in memory.
func (q *Queue) sweepIsDue() bool {
	q.mu.Lock()
	due := time.Since(q.swept) >= sweepInterval
	if due {
		q.swept = time.Now()
	}
	q.mu.Unlock()
	if due {
		q.limits.sweep()
		q.forgetTold()
	}
	return due
}

// forgetTold drops what is known of intents that were told long ago.
func (q *Queue) forgetTold() {
	q.mu.Lock()
	defer q.mu.Unlock()
	maps.DeleteFunc(q.told, func(_ string, at time.Time) bool { return time.Since(at) > sweepInterval })
}

func (q *Queue) endLapsed(ctx context.Context, leases []lapsed) error {
	if len(leases) == 0 {
		return nil
	}
	err := q.write(ctx, func(t *tx) error {
		for _, l := range leases {
			if err := t.lapse(l); err != nil {
				return err
			}
		}
		return t.adoptIdle()
	})
	if err != nil {
		q.leases.revive(leases)
		return fmt.Errorf("queue: end leases: %w", err)
	}
	for _, l := range leases {
		q.cfg.Logger.Warn("lease ran out", "lease", l.id)
	}
	return nil
}

// lapse ends one lease that was not renewed, and decides on its job.
func (t *tx) lapse(l lapsed) error {
	lease, found, err := t.leaseRow(l.id)
	if err != nil {
		return err
	}
	err = t.endLease(l.id, endedByLoss)
	if errors.Is(err, ErrLeaseEnded) {
		return nil // a result came first
	}
	if err != nil || !found {
		return err
	}
	job, err := t.job(lease.JobID)
	if err != nil {
		return err
	}
	before := loss{
		Ours: lease.ours, Cancelled: !job.CancelRequestedAt.IsZero(), Overtime: l.overtime,
		Unused: lease.ours && !lease.taken, Retries: job.Retries,
	}
	before, _, err = store.One(t.Tx, func(r store.Row) (loss, error) { return before, r.Scan(&before.Lost, &before.LostUnused) },
		`SELECT count(taken_at) + count(CASE WHEN taken_at IS NULL AND NOT ours THEN 1 END), count(CASE WHEN taken_at IS NULL AND ours THEN 1 END)
		FROM leases WHERE job_id = ? AND ended_by = 'lost'`, job.ID)
	if err != nil {
		return err
	}
	fate := lossOf(before)
	if fate.Again {
		return t.requeue(job, fate.Reason)
	}
	return t.finish(job, fate.State, fate.Reason, nil, job.LogBytes)
}

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
	State  State
	Reason string
}

// lossOf decides. A runner that is not ours may still be running the job, so that
// job is never run again.
func lossOf(l loss) fate {
	switch {
	case l.Cancelled:
		return fate{State: StateCancelled, Reason: "cancelled; its runner did not answer"}
	case l.Overtime:
		return fate{State: StateTimedOut, Reason: "ran past its timeout; its runner did not answer"}
	case !l.Ours:
		return fate{State: StateFailed, Reason: "its runner, not a Slipway runner, stopped renewing"}
	case l.Unused && l.LostUnused <= maxUnused:
		return fate{Again: true, State: StateQueued, Reason: "its runner was lost before it began"}
	case !l.Unused && l.Lost <= l.Retries:
		return fate{Again: true, State: StateQueued, Reason: fmt.Sprintf("runner lost, retry %d of %d", l.Lost, l.Retries)}
	}
	return fate{State: StateRunnerLost, Reason: "its runner stopped renewing"}
}

// sweep deletes what is of no use any more.
func (t *tx) sweep() error {
	dead, ended := millis(t.now.Add(-keepDead)), millis(t.now.Add(-keepEnded))
	for _, stmt := range []struct {
		query  string
		before int64
	}{
		{`DELETE FROM reservations WHERE id IN (SELECT id FROM reservations WHERE expires_at < ? LIMIT ?)`, dead},
		{`DELETE FROM tokens WHERE id IN (SELECT id FROM tokens WHERE expires_at < ? AND kind IN ('ert', 'rbt', 'rcs', 'rat') LIMIT ?)`, dead},
		{`DELETE FROM sessions WHERE id IN (SELECT s.id FROM sessions s WHERE s.expires_at < ? AND s.runner_id IS NULL LIMIT ?)`, ended},
		{`DELETE FROM runners WHERE id IN (SELECT r.id FROM runners r WHERE r.ended_at < ?
			AND NOT EXISTS (SELECT 1 FROM leases l WHERE l.runner_id = r.id AND l.ended_at IS NULL) LIMIT ?)`, ended},
	} {
		if _, err := t.Exec(stmt.query, stmt.before, sweepLimit); err != nil {
			return err
		}
	}
	// What a provisioner lost between mint and launch is never reported.
	_, err := t.Exec(`UPDATE runners SET state = 'terminated', reason = 'never heard of again', ended_at = ? WHERE id IN (
		SELECT r.id FROM runners r WHERE r.ended_at IS NULL AND r.seen_at < ?
		AND NOT EXISTS (SELECT 1 FROM leases l WHERE l.runner_id = r.id AND l.ended_at IS NULL) LIMIT ?)`, millis(t.now), ended, sweepLimit)
	return err
}
