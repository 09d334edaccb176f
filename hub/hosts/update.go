package hosts

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/hub/hosts/form"
	"github.com/slipway-ci/slipway/hub/hosts/rollout"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/tokens"
)

// UpdateSpec is an order to agents to become another version.
type UpdateSpec struct {
	// Version that the agents fetch from this hub; default the one that it has.
	Version string
	// Canary is how many hosts go first, together; the others follow, one at a
	// time, when these are back with the version; default 1.
	Canary int
}

// Update orders hosts, by names or ids, to become another version of the agent;
// nil: all that are enrolled. Those that have it are passed over, and so are those
// that take none, by their own policy or for want of a key; what was ordered of them before is over. A host that
// goes back, or does not return in time, says why in its UpdateProblem, and those
// that were not told yet are stopped. Run carries it out. Errors: ErrNotFound,
// queue.InvalidError.
func (r *Registry) Update(ctx context.Context, names []string, spec UpdateSpec) error {
	version, err := r.offered(spec.Version)
	if err != nil {
		return err
	}
	canaries := cmp.Or(spec.Canary, 1)
	switch {
	case canaries < 0:
		return form.Invalid("canary", "is %d: it can't be negative", canaries)
	case names != nil && len(names) == 0:
		return form.Invalid("hosts", "are none")
	}
	states := r.states()
	err = r.write(ctx, func(t *tx) error {
		chosen, err := t.updatable(names)
		if err != nil {
			return err
		}
		// Who can be asked now goes first: a canary that is away helps nobody.
		slices.SortStableFunc(chosen, func(a, b Host) int { return cmp.Compare(rank(states[a.ID]), rank(states[b.ID])) })
		var ordered []rollout.Host
		for _, h := range chosen {
			ordered = append(ordered, toUpdate(h, states[h.ID]))
		}
		told, err := rollout.Order(t.Tx, version, canaries, ordered)
		for _, said := range told {
			t.after(func() { r.tellUpdate(said) })
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("hosts: order an update: %w", err)
	}
	r.poke()
	return nil
}

// offered is the version that an order means, if agents can have it from this hub.
func (r *Registry) offered(version string) (string, error) {
	if r.cfg.Agents == nil {
		version = cmp.Or(version, r.cfg.Version)
		return version, form.Version(version)
	}
	if version != "" {
		if err := form.Version(version); err != nil {
			return "", err
		}
	}
	has := r.cfg.Agents()
	switch {
	case len(has) == 0:
		return "", form.Invalid("version", "is %.40q: this hub has no signed agent to give out: put one into its folder of agents (--agents-dir)", version)
	case version == "" && len(has) == 1:
		return has[0], nil
	case version == "":
		return "", form.Invalid("version", "is needed: this hub gives out %s", strings.Join(has, ", "))
	case !slices.ContainsFunc(has, func(v string) bool { return rollout.Same(v, version) }):
		return "", form.Invalid("version", "is %.40q: this hub gives out %s", version, strings.Join(has, ", "))
	}
	return version, nil
}

func rank(st fleet.HostState) int {
	if st.Online {
		return 0
	}
	return 1
}

// toUpdate is a host as it does now, or as its agent last told.
func toUpdate(h Host, st fleet.HostState) rollout.Host {
	version, facts := h.AgentVersion, h.Facts
	if st.Online {
		version, facts = st.Version, st.Facts
	}
	to := rollout.Host{ID: h.ID, Name: h.Name, Version: version}
	if facts.UpdateForbidden {
		to.Forbids = cmp.Or(tokens.Redact(facts.Hints[rollout.HintUpdateForbidden]), "the host's own policy forbids updates by the hub")
	}
	return to
}

// updatable finds hosts, each once; nil: all that are enrolled.
func (t *tx) updatable(names []string) (chosen []Host, err error) {
	if names == nil {
		return store.All(t.Tx, scanHost, hostQuery+`EXISTS (SELECT 1 FROM host_credentials c WHERE c.host_id = h.id AND c.next <> 2) ORDER BY h.name`)
	}
	seen := map[string]bool{}
	for _, name := range names {
		h, err := t.find(name)
		if err != nil {
			return nil, failed("find host", name, err)
		}
		if !seen[h.ID] {
			chosen = append(chosen, h)
		}
		seen[h.ID] = true
	}
	return chosen, nil
}

func (r *Registry) tellUpdate(told rollout.Told) {
	r.said(told.Kind, Host{ID: told.Host.ID, Name: told.Host.Name}, told.Text)
}
