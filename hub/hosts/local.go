package hosts

import (
	"cmp"
	"context"
	"errors"

	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/hub/hosts/form"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/tokens"
)

// LocalName is the name of the host beside the hub, unless it is given another. No
// other host can be given it.
const LocalName = "local"

// LocalAgent makes the host whose agent was started beside the hub with the same
// token (sf_agt_…), or finds it: there is one, whatever its token was before and
// whatever its name is now. Which agent and engine it is, is learnt anew. name is
// for a new one; default LocalName.
//
// What an operator did stands: the token of a host that was removed or revoked is
// refused for ever, and so is another host's, and a name that is taken stays with
// who has it. A hub serves its other hosts all the same, so none of these is an
// error: there is no local host then, h is zero, and a warning says what to do.
// Error: queue.InvalidError.
func (r *Registry) LocalAgent(ctx context.Context, token tokens.Token, name string) (h Host, err error) {
	name = cmp.Or(name, LocalName)
	if token.Kind() != tokens.Agent {
		return Host{}, form.Invalid("token", "is none of an agent (sf_agt_…)")
	}
	if err := form.Name(name); err != nil {
		return Host{}, err
	}
	err = r.write(ctx, func(t *tx) error {
		h, err = r.local(t, token, name)
		return err
	})
	if why := withoutLocal(err); why != "" {
		r.log.Warn("the agent beside the hub is refused, and all else goes on: "+why, "host", name)
		return Host{}, nil
	}
	if err != nil {
		return Host{}, failed("add the local host", name, err)
	}
	r.forget(h.ID)
	r.applied(ctx, h.ID)
	return h, nil
}

// withoutLocal is why a hub has no local host, and what to do about it; empty: there
// is another error, or none.
func withoutLocal(err error) string {
	const other = "set SLIPWAY_LOCAL_AGENT_TOKEN to another token, for both of them, and start both anew"
	switch {
	case errors.Is(err, fleet.ErrRemoved):
		return "the host that had its token was removed; to have one again, " + other
	case errors.Is(err, fleet.ErrRevoked):
		return "its token was revoked; to let it in again, " + other
	case errors.Is(err, ErrCredentialTaken):
		return "its token is that of a host that was enrolled: " + other
	case errors.Is(err, ErrNameTaken):
		return "another host has its name: rename that one (slipway hosts set NAME --name NEW), and start the hub anew"
	}
	return ""
}

func (r *Registry) local(t *tx, token tokens.Token, name string) (Host, error) {
	c, known, err := t.credential(token.Digest())
	switch {
	case err != nil:
		return Host{}, err
	case known && c.removed:
		return Host{}, fleet.ErrRemoved
	case known && c.revoked:
		return Host{}, fleet.ErrRevoked
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

// reserved says that people may not give a host the name: one that has it would be
// in the way of the host beside the hub.
func reserved(name string) error {
	if name == LocalName {
		return form.Invalid("name", "is %q: that is the name of the host beside the hub (SLIPWAY_LOCAL_AGENT_TOKEN): choose another one", name)
	}
	return nil
}
