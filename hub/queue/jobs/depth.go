package jobs

import (
	"context"
	"fmt"
	"time"

	"github.com/slipway-ci/slipway/hub/queue/ledger"
	"github.com/slipway-ci/slipway/hub/store"
)

// Depth is how much there is to do.
type Depth struct {
	// Queued jobs wait, Reserved ones are promised to a provisioner or have a
	// runner on its way, Running ones run.
	Queued, Reserved, Running int
	// Oldest is how long the oldest of those that wait has been waiting, by the
	// hub's clock; 0 where none does.
	Oldest time.Duration
}

// Depth tells how much there is to do now.
func (j *Jobs) Depth(ctx context.Context) (d Depth, err error) {
	err = j.ledger.Read(ctx, func(t *ledger.Tx) error {
		d, _, err = store.One(t.Tx, func(r store.Row) (d Depth, err error) {
			return d, r.Scan(&d.Queued, &d.Reserved, &d.Running)
		}, `SELECT coalesce(sum(queued), 0), coalesce(sum(reserved), 0), coalesce(sum(running), 0) FROM label_sets`)
		if err != nil || d.Queued == 0 {
			return err
		}
		oldest, found, err := store.One(t.Tx, store.Value[int64], `SELECT queued_at FROM jobs WHERE state = 'queued' ORDER BY seq LIMIT 1`)
		if found {
			d.Oldest = max(0, t.Now.Sub(ledger.FromMillis(oldest)))
		}
		return err
	})
	if err != nil {
		return Depth{}, fmt.Errorf("queue: depth: %w", err)
	}
	return d, nil
}
