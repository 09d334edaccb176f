package dispatch

import (
	"context"

	"github.com/slipway-ci/slipway/hub/queue/ledger"
	"github.com/slipway-ci/slipway/hub/store"
)

// LocalProvisioner finds or makes the provisioner of a loop in this process, and takes
// back what was promised to it in an earlier life.
func (d *Dispatcher) LocalProvisioner(ctx context.Context, name string) (ledger.Provisioner, error) {
	id, err := d.ledger.Setting(ctx, "provisioner "+name, ledger.NewID)
	if err != nil {
		return ledger.Provisioner{}, err
	}
	err = d.ledger.Write(ctx, func(t *ledger.Tx) error {
		_, found, err := store.One(t.Tx, store.Value[string], `SELECT id FROM provisioners WHERE id = ?`, id)
		switch {
		case err != nil:
			return err
		case !found:
			return t.AddProvisioner(id, name, ledger.GenerationHead)
		}
		return dropUntold(t, ledger.Provisioner{ID: id})
	})
	return ledger.Provisioner{ID: id, Generation: ledger.GenerationHead}, err
}

// dropUntold takes back what was promised to a loop of this process in an earlier
// life, and not minted for: that loop has forgotten it, and would leave other jobs
// without the slots that it offered for these.
func dropUntold(t *ledger.Tx, p ledger.Provisioner) error {
	ids, err := store.All(t.Tx, store.Value[string], `SELECT id FROM reservations WHERE provisioner_id = ? AND kind = 'launch' AND granted - released > minted`, p.ID)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := t.DropReservation(p, id); err != nil {
			return err
		}
	}
	return t.AdoptIdle() // who waits may have it at once
}
