package jobs

import (
	"context"
	"fmt"
	"time"

	"github.com/slipway-ci/slipway/hub/queue/ledger"
	"github.com/slipway-ci/slipway/hub/store"
)

// PruneJobs deletes up to limit finished jobs (their events and leases with
// them) that finished before the time, oldest first, and returns their ids.
func (j *Jobs) PruneJobs(ctx context.Context, before time.Time, limit int) (ids []string, err error) {
	err = j.ledger.Write(ctx, func(t *ledger.Tx) error {
		ids, err = store.All(t.Tx, store.Value[string],
			`SELECT id FROM jobs WHERE finished_at < ? ORDER BY finished_at LIMIT ?`, ledger.Millis(before), limit)
		for _, id := range ids {
			if _, err := t.Exec(`DELETE FROM jobs WHERE id = ?`, id); err != nil {
				return err
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("queue: prune jobs: %w", err)
	}
	return ids, nil
}

// PruneEvents deletes up to limit events of finished jobs from before the time.
func (j *Jobs) PruneEvents(ctx context.Context, before time.Time, limit int) (n int64, err error) {
	err = j.ledger.Write(ctx, func(t *ledger.Tx) error {
		n, err = t.Exec(`DELETE FROM job_events WHERE seq IN (
			SELECT e.seq FROM job_events e JOIN jobs j ON j.id = e.job_id
			WHERE e.at < ? AND j.finished_at IS NOT NULL ORDER BY e.at LIMIT ?)`, ledger.Millis(before), limit)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("queue: prune events: %w", err)
	}
	return n, nil
}
