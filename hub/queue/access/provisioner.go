package access

import (
	"context"
	"time"

	"github.com/slipway-ci/slipway/hub/queue/ledger"
	"github.com/slipway-ci/slipway/tokens"
)

// touchInterval bounds how often a provisioner is marked as seen.
const touchInterval = 10 * time.Second

// AuthenticateProvisioner finds whose token that is, and marks it as seen.
// Errors are Authenticate's.
func (r *Registry) AuthenticateProvisioner(ctx context.Context, text string) (ledger.Provisioner, error) {
	token, err := r.Authenticate(ctx, text, tokens.Provisioner)
	if err != nil {
		return ledger.Provisioner{}, err
	}
	p := ledger.Provisioner{ID: token.Provisioner, Generation: token.Generation}
	return p, r.touch(ctx, p)
}

func (r *Registry) touch(ctx context.Context, p ledger.Provisioner) error {
	now := time.Now()
	r.mu.Lock()
	fresh := now.Sub(r.seen[p.ID]) < touchInterval
	if !fresh {
		r.seen[p.ID] = now
	}
	r.mu.Unlock()
	if fresh {
		return nil
	}
	return r.ledger.Write(ctx, func(t *ledger.Tx) error {
		_, err := t.Exec(`UPDATE provisioners SET last_seen_at = ? WHERE id = ?`, ledger.Millis(t.Now), p.ID)
		return err
	})
}
