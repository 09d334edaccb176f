package dispatch

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/slipway-ci/slipway/hub/queue/ledger"
	"github.com/slipway-ci/slipway/hub/store"
)

// Retire fences runners: one that is returned never gets a job. Those that have
// one, or were given one, are left out, and so are unknown ones.
func (d *Dispatcher) Retire(ctx context.Context, p ledger.Provisioner, providerIDs []string) (retired []string, err error) {
	err = d.ledger.Write(ctx, func(t *ledger.Tx) error {
		gone := map[string]bool{}
		for _, id := range providerIDs {
			r, found, err := t.RunnerOf(p, id)
			if err != nil {
				return err
			}
			if !found {
				continue
			}
			fenced, err := retire(t, r)
			if err != nil {
				return err
			}
			if fenced {
				gone[id] = true
			}
		}
		retired = slices.Sorted(maps.Keys(gone))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("queue: retire runners: %w", err)
	}
	return retired, nil
}

func retire(t *ledger.Tx, r ledger.Runner) (bool, error) {
	_, busy, err := store.One(t.Tx, store.Value[string], `SELECT id FROM leases WHERE runner_id = ? LIMIT 1`, r.ID)
	if err != nil || busy {
		return false, err
	}
	meant, err := t.MeantFor(r.ID)
	if err != nil || r.Reservation != "" && len(meant) > 0 {
		return false, err // it was given a job, and is on its way to claim it
	}
	if _, err := t.Exec(`UPDATE runners SET retired_at = coalesce(retired_at, ?) WHERE id = ?`, ledger.Millis(t.Now), r.ID); err != nil {
		return false, err
	}
	t.Wake(ledger.TopicRunner(r.ID))
	// A job that it was launched for, and never came for, goes to another.
	return true, t.RequeueOf(r.ID, "runner retired")
}
