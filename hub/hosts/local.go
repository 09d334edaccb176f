package hosts

import (
	"cmp"
	"context"

	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/tokens"
)

// LocalName is the name of the host beside the hub, unless it is given another.
const LocalName = "local"

// LocalAgent makes the host whose agent was started beside the hub with the same
// token (sf_agt_…), or finds it: there is one, whatever its token was before and
// whatever its name is now. Which agent and engine it is, is learnt anew. name is
// for a new one; default LocalName. Errors: fleet.ErrRemoved for the token of a
// host that was removed, ErrCredentialTaken for another host's, ErrNameTaken,
// queue.InvalidError.
func (r *Registry) LocalAgent(ctx context.Context, token tokens.Token, name string) (h Host, err error) {
	name = cmp.Or(name, LocalName)
	if token.Kind() != tokens.Agent {
		return Host{}, invalid("token", "is none of an agent (sf_agt_…)")
	}
	if err := CheckName(name); err != nil {
		return Host{}, err
	}
	err = r.write(ctx, func(t *tx) error {
		h, err = r.local(t, token, name)
		return err
	})
	if err != nil {
		return Host{}, failed("add the local host", name, err)
	}
	r.forget(h.ID)
	r.applied(ctx, h.ID)
	return h, nil
}

func (r *Registry) local(t *tx, token tokens.Token, name string) (Host, error) {
	c, known, err := t.credential(token.Digest())
	switch {
	case err != nil:
		return Host{}, err
	case known && c.removed:
		return Host{}, fleet.ErrRemoved
	}
	id, found, err := store.One(t.Tx, store.Value[string], `SELECT id FROM hosts WHERE local <> 0 AND removed_at IS NULL ORDER BY id LIMIT 1`)
	if err != nil {
		return Host{}, err
	}
	if !found {
		h, err := t.add(HostSpec{Name: name}, true)
		if err != nil {
			return Host{}, err
		}
		id = h.ID
		r.tell(t, "host-added", h, "local host added")
	}
	if err := t.setCredential(id, token.Digest()); err != nil {
		return Host{}, err
	}
	if _, err := t.Exec(`UPDATE hosts SET agent = '', engine = '' WHERE id = ?`, id); err != nil {
		return Host{}, err
	}
	return t.find(id)
}
