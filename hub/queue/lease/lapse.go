package lease

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/slipway-ci/slipway/hub/queue/leasebook"
	"github.com/slipway-ci/slipway/hub/queue/ledger"
)

// EndLapsed ends the leases that ran out, and returns when the next one can; zero:
// there is none.
func (l *Leases) EndLapsed(ctx context.Context) (next time.Time, err error) {
	lapsed, next := l.ledger.Book.ClaimLapsed()
	if len(lapsed) == 0 {
		return next, nil
	}
	err = l.ledger.Write(ctx, func(t *ledger.Tx) error {
		for _, end := range lapsed {
			if err := lapse(t, end); err != nil {
				return err
			}
		}
		return t.AdoptIdle()
	})
	if err != nil {
		l.ledger.Book.Revive(lapsed)
		return next, fmt.Errorf("queue: end leases: %w", err)
	}
	for _, end := range lapsed {
		l.cfg.Logger.Warn("lease ran out", "lease", end.ID)
	}
	return next, nil
}

// lapse ends one lease that was not renewed, and decides on its job.
func lapse(t *ledger.Tx, end leasebook.Lapsed) error {
	lease, found, err := t.Lease(end.ID)
	if err != nil {
		return err
	}
	err = t.EndLease(end.ID, ledger.EndedByLoss)
	if errors.Is(err, ErrLeaseEnded) {
		return nil // a result came first
	}
	if err != nil || !found {
		return err
	}
	job, err := t.Job(lease.JobID)
	if err != nil {
		return err
	}
	fate, err := fateOf(t, job, lease, end.Overtime)
	if err != nil {
		return err
	}
	if fate.Again {
		return t.Requeue(job, fate.Reason)
	}
	return t.Finish(job, fate.State, fate.Reason, nil, job.LogBytes)
}
