package hosts

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/hub/store"
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
// whose own policy forbids it; what was ordered of them before is over. A host that goes back, or does not return in time, says
// why in its UpdateProblem, and those that were not told yet are stopped. Run
// carries it out. Errors: ErrNotFound, queue.InvalidError.
func (r *Registry) Update(ctx context.Context, names []string, spec UpdateSpec) error {
	version, err := r.offered(spec.Version)
	if err != nil {
		return err
	}
	spec.Version, spec.Canary = version, cmp.Or(spec.Canary, 1)
	switch {
	case spec.Canary < 0:
		return invalid("canary", "is %d: it can't be negative", spec.Canary)
	case names != nil && len(names) == 0:
		return invalid("hosts", "are none")
	}
	states := r.states()
	err = r.write(ctx, func(t *tx) error {
		chosen, err := t.updatable(names)
		if err != nil {
			return err
		}
		// Who can be asked now goes first: a canary that is away helps nobody.
		slices.SortStableFunc(chosen, func(a, b Host) int { return cmp.Compare(rank(states[a.ID]), rank(states[b.ID])) })
		rollout, place := newID(), 0
		for _, h := range chosen {
			o := order{host: h.ID, rollout: rollout, canary: place < spec.Canary, version: spec.Version, state: orderWaiting}
			open, err := r.order(t, h, states[h.ID], o, place)
			if err != nil {
				return err
			}
			if open {
				place++
			}
		}
		return nil
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
		return version, checkVersion(version)
	}
	if version != "" {
		if err := checkVersion(version); err != nil {
			return "", err
		}
	}
	has := r.cfg.Agents()
	switch {
	case len(has) == 0:
		return "", invalid("version", "is %.40q: this hub has no signed agent to give out: put one into its folder of agents (--agents-dir)", version)
	case version == "" && len(has) == 1:
		return has[0], nil
	case version == "":
		return "", invalid("version", "is needed: this hub gives out %s", strings.Join(has, ", "))
	case !slices.ContainsFunc(has, func(v string) bool { return same(v, version) }):
		return "", invalid("version", "is %.40q: this hub gives out %s", version, strings.Join(has, ", "))
	}
	return version, nil
}

// order writes one host's order, if it needs one; open: it is to be carried out.
func (r *Registry) order(t *tx, h Host, st fleet.HostState, o order, place int) (open bool, err error) {
	if err := t.leaveRollout(h, "it got another order"); err != nil {
		return false, err
	}
	switch {
	case same(versionOf(h, st), o.version):
		return false, nil
	case forbids(h, st): // it would only refuse, and stop the others by that
		o.canary, o.state, o.problem = false, orderStopped, o.version+": the host's own policy forbids updates by the hub"
		r.tell(t, "host-update-stopped", h, sayings[orderStopped]+": "+o.problem)
	default:
		r.tell(t, "host-update-ordered", h, "its agent is to become "+o.version)
	}
	_, err = t.Exec(`INSERT INTO host_updates (host_id, rollout, place, canary, version, state, problem) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		o.host, o.rollout, place, o.canary, o.version, o.state, o.problem)
	return o.open(), err
}

func rank(st fleet.HostState) int {
	if st.Online {
		return 0
	}
	return 1
}

func versionOf(h Host, st fleet.HostState) string {
	if st.Online {
		return st.Version
	}
	return h.AgentVersion
}

func forbids(h Host, st fleet.HostState) bool {
	if st.Online {
		return st.Facts.UpdateForbidden
	}
	return h.Facts.UpdateForbidden
}

// updatable finds hosts, each once; nil: all that are enrolled.
func (t *tx) updatable(names []string) (chosen []Host, err error) {
	if names == nil {
		return store.All(t.Tx, scanHost, hostQuery+`EXISTS (SELECT 1 FROM host_credentials c WHERE c.host_id = h.id) ORDER BY h.name`)
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

// leaveRollout deletes a host's order. Where the others wait for it, they are
// stopped: nothing is known of the version then.
func (t *tx) leaveRollout(h Host, why string) error {
	o, found, err := store.One(t.Tx, scanOrder, orderQuery+`u.host_id = ?`, h.ID)
	if err != nil || !found {
		return err
	}
	if _, err := t.Exec(`DELETE FROM host_updates WHERE host_id = ?`, h.ID); err != nil {
		return err
	}
	if !o.canary || !o.open() {
		return nil
	}
	_, err = t.Exec(`UPDATE host_updates SET state = 'stopped', problem = ? WHERE rollout = ? AND state = 'waiting'`,
		fmt.Sprintf("%s: stopped, since %s was to go first: %s", o.version, h.Name, why), o.rollout)
	return err
}

const orderQuery = `SELECT u.host_id, h.name, u.rollout, u.canary, u.version, u.state, u.problem, u.asked_at
	FROM host_updates u JOIN hosts h ON h.id = u.host_id WHERE `

func scanOrder(row store.Row) (o order, err error) {
	var asked *int64
	err = row.Scan(&o.host, &o.name, &o.rollout, &o.canary, &o.version, &o.state, &o.problem, &asked)
	o.asked = fromNullable(asked)
	return o, err
}

// updates carries out what is ordered, and says whether there is anything.
func (r *Registry) updates(ctx context.Context, states map[string]fleet.HostState) (pending bool, err error) {
	var orders []order
	err = r.read(ctx, func(t *tx) error {
		orders, err = store.All(t.Tx, scanOrder, orderQuery+`u.rollout IN (SELECT rollout FROM host_updates WHERE state IN ('waiting', 'asked'))
			ORDER BY u.rollout, u.place`)
		return err
	})
	if err != nil {
		return true, fmt.Errorf("hosts: look at updates: %w", err)
	}
	now := time.Now()
	for len(orders) > 0 {
		n := 1
		for n < len(orders) && orders[n].rollout == orders[0].rollout {
			n++
		}
		for _, s := range planRollout(orders[:n], states, now, r.cfg.UpdateTimeout) {
			if err := r.step(ctx, s); err != nil {
				return true, err
			}
		}
		orders, pending = orders[n:], true
	}
	return pending, nil
}

// step writes what becomes of an order, then does it.
func (r *Registry) step(ctx context.Context, s step) error {
	if s.to == orderAsked && !r.mayAsk(s.host) {
		return nil
	}
	taken, err := r.move(ctx, s.order, s.to, s.problem)
	if err != nil || !taken || s.to != orderAsked {
		return err
	}
	r.calls.Go(func() { r.ask(ctx, s.order) })
	return nil
}

// askAgain is the pause after a request to update that was not delivered.
const askAgain = 10 * time.Second

// mayAsk says whether a host may be asked now, and then counts it as asked.
func (r *Registry) mayAsk(host string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if r.fleet == nil || now.Sub(r.asked[host]) < askAgain {
		return false
	}
	r.asked[host] = now
	return true
}

// move is one change of an order, if it is still as it was.
func (r *Registry) move(ctx context.Context, o order, to orderState, problem string) (taken bool, err error) {
	err = r.write(ctx, func(t *tx) error {
		var n int64
		switch to {
		case orderDone:
			n, err = t.Exec(`DELETE FROM host_updates WHERE host_id = ? AND rollout = ? AND state = ?`, o.host, o.rollout, o.state)
		case orderAsked:
			n, err = t.Exec(`UPDATE host_updates SET state = ?, problem = '', asked_at = ? WHERE host_id = ? AND rollout = ? AND state = ?`,
				to, millis(t.now), o.host, o.rollout, o.state)
		default:
			n, err = t.Exec(`UPDATE host_updates SET state = ?, problem = ?, asked_at = NULL WHERE host_id = ? AND rollout = ? AND state = ?`,
				to, problem, o.host, o.rollout, o.state)
		}
		if taken = n == 1; err != nil || !taken {
			return err
		}
		h, err := t.find(o.host)
		if said := sayings[to]; err == nil && said != "" {
			r.tell(t, "host-update-"+string(to), h, said+": "+cmp.Or(problem, o.version))
		}
		return err
	})
	if errors.Is(err, ErrNotFound) {
		return false, nil // removed meanwhile
	}
	return taken, failed("note the update of host", o.name, err)
}

// sayings are of the states that are told.
var sayings = map[orderState]string{
	orderAsked: "its agent was told to update", orderDone: "its agent was updated",
	orderFailed: "the update of its agent failed", orderStopped: "the update of its agent was stopped",
}

// ask tells an agent to update. An answer that was lost says nothing: the version
// it comes back with does.
func (r *Registry) ask(ctx context.Context, o order) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.UpdateTimeout)
	defer cancel()
	f := r.bound()
	if f == nil {
		return
	}
	err := f.Update(ctx, o.host, o.version)
	o.state = orderAsked
	switch {
	case err == nil || ctx.Err() != nil:
		return
	case errors.Is(err, backend.ErrUnavailable): // it was not told
		_, err = r.move(ctx, o, orderWaiting, "")
	case errors.Is(err, fleet.ErrOffline):
		return
	default:
		_, err = r.move(ctx, o, orderFailed, o.version+": "+redacted(err))
	}
	if err != nil {
		r.log.Error("note an update", "host", o.name, "err", redacted(err))
	}
	r.poke()
}
