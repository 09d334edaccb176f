package queue

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/slipway-ci/slipway/hub/queue/access"
	"github.com/slipway-ci/slipway/hub/queue/ledger"
)

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

// sweeps remembers the last one.
type sweeps struct {
	mu   sync.Mutex
	last time.Time
}

// due says whether a sweep is due, once.
func (s *sweeps) due() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.last) < sweepInterval {
		return false
	}
	s.last = time.Now()
	return true
}

// Expire ends what has run out: promises and leases. Run calls it; it returns
// when to call it again.
func (q *Queue) Expire(ctx context.Context) (next time.Time, err error) {
	next = time.Now().Add(sweepInterval)
	lease, err := q.EndLapsed(ctx)
	if err != nil {
		return next, err
	}
	sweep := q.sweeps.due()
	if sweep {
		q.Forget(time.Now().Add(-sweepInterval))
	}
	var promise time.Time
	err = q.ledger.Write(ctx, func(t *ledger.Tx) error {
		if err := t.ExpireReservations(); err != nil {
			return err
		}
		if sweep {
			if err := access.Sweep(t, t.Now.Add(-keepDead), sweepLimit); err != nil {
				return err
			}
			if err := t.Sweep(t.Now.Add(-keepDead), t.Now.Add(-keepEnded), sweepLimit); err != nil {
				return err
			}
		}
		promise, err = t.NextExpiry()
		return err
	})
	if err != nil {
		return next, fmt.Errorf("queue: expire reservations: %w", err)
	}
	for _, at := range []time.Time{lease, promise} {
		if !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	return next, nil
}
