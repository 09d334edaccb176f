package queue

import (
	"context"
	"time"

	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/tokens"
)

// Provisioner is who asks for demand.
type Provisioner struct {
	// ID is the owner of what it launches.
	ID string
	// Generation is the API that it speaks.
	Generation Generation
}

// touchInterval bounds how often a provisioner is marked as seen.
const touchInterval = 10 * time.Second

// AuthenticateProvisioner finds whose token that is, and marks it as seen.
// Errors are Authenticate's.
func (q *Queue) AuthenticateProvisioner(ctx context.Context, text string) (Provisioner, error) {
	token, err := q.Authenticate(ctx, text, tokens.Provisioner)
	if err != nil {
		return Provisioner{}, err
	}
	p := Provisioner{ID: token.Provisioner, Generation: token.Generation}
	return p, q.touch(ctx, p)
}

func (q *Queue) touch(ctx context.Context, p Provisioner) error {
	now := time.Now()
	q.mu.Lock()
	fresh := now.Sub(q.seen[p.ID]) < touchInterval
	if !fresh {
		q.seen[p.ID] = now
	}
	q.mu.Unlock()
	if fresh {
		return nil
	}
	return q.write(ctx, func(t *tx) error {
		_, err := t.Exec(`UPDATE provisioners SET last_seen_at = ? WHERE id = ?`, millis(t.now), p.ID)
		return err
	})
}

// localProvisioner finds or makes the provisioner of a loop in this process.
func (q *Queue) localProvisioner(ctx context.Context, name string) (Provisioner, error) {
	id, err := q.setting(ctx, "provisioner "+name, newID)
	if err != nil {
		return Provisioner{}, err
	}
	err = q.write(ctx, func(t *tx) error {
		_, found, err := store.One(t.Tx, store.Value[string], `SELECT id FROM provisioners WHERE id = ?`, id)
		switch {
		case err != nil:
			return err
		case !found:
			return t.addProvisioner(id, name, GenerationHead)
		}
		return t.dropUntold(Provisioner{ID: id})
	})
	return Provisioner{ID: id, Generation: GenerationHead}, err
}

// dropUntold takes back what was promised to a loop of this process in an earlier
// life, and not minted for: that loop has forgotten it.
func (t *tx) dropUntold(p Provisioner) error {
	ids, err := store.All(t.Tx, store.Value[string], `SELECT id FROM reservations WHERE provisioner_id = ? AND kind = 'launch' AND minted = 0`, p.ID)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := t.dropReservation(p, id); err != nil {
			return err
		}
	}
	return nil
}
