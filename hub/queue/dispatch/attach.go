package dispatch

import (
	"context"
	"fmt"

	"github.com/slipway-ci/slipway/hub/queue/ledger"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/template"
)

// Attach tells a minted runner's id in the provisioner's hands. Only the first
// call for a runner that has not ended answers true. ErrRunnerConflict: another
// runner has that id.
func (d *Dispatcher) Attach(ctx context.Context, p ledger.Provisioner, id, providerID string) (attached bool, err error) {
	err = d.ledger.Write(ctx, func(t *ledger.Tx) error {
		attached, err = t.Attach(p, id, providerID)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("queue: attach runner: %w", err)
	}
	return attached, nil
}

// Assign binds running, enrolled runners to a reservation: all of them, or none.
// Enrolment does it by itself for the reservation that a runner was minted for,
// so this repeats it, as a rule. Errors: ErrReservationNotFound,
// ErrReservationExpired, ErrNotAssignable.
func (d *Dispatcher) Assign(ctx context.Context, p ledger.Provisioner, reservation string, ids []string) error {
	err := d.ledger.Write(ctx, func(t *ledger.Tx) error { return assign(t, p, reservation, ids) })
	if err != nil {
		return fmt.Errorf("queue: assign runners: %w", err)
	}
	return nil
}

func assign(t *ledger.Tx, p ledger.Provisioner, reservation string, ids []string) error {
	runners := make([]ledger.Runner, 0, len(ids))
	done := 0
	for _, id := range ids {
		r, found, err := t.Runner(id)
		if err != nil {
			return err
		}
		if found && r.Provisioner == p.ID {
			runners = append(runners, r)
			if r.Reservation == reservation {
				done++
			}
		}
	}
	if done == len(ids) {
		return nil // repeated; the reservation itself may be gone by now
	}
	type row struct {
		labels  []string
		expires int64
	}
	res, found, err := store.One(t.Tx, func(r store.Row) (v row, err error) {
		var set string
		err = r.Scan(&set, &v.expires)
		v.labels = ledger.SplitLabels(set)
		return v, err
	}, `SELECT label_set, expires_at FROM reservations WHERE id = ? AND provisioner_id = ?`, reservation, p.ID)
	switch {
	case err != nil:
		return err
	case !found:
		return ErrReservationNotFound
	case res.expires <= ledger.Millis(t.Now):
		return ErrReservationExpired
	case len(runners) < len(ids):
		return ErrNotAssignable
	}
	for _, r := range runners {
		if r.Reservation == reservation {
			continue
		}
		if !assignable(r) || !template.Covers(r.Labels, res.labels) {
			return ErrNotAssignable
		}
		if err := t.Promote(r, reservation); err != nil {
			return err
		}
	}
	return nil
}

// assignable says whether a runner waits for a reservation.
func assignable(r ledger.Runner) bool {
	return r.State == ledger.RunnerRunning && r.ProviderID != "" && r.Enrolled && r.Session == "" && r.Reservation == "" && !r.Retired
}
