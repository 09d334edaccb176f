package fleet

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/slipway-ci/slipway/hub/fleet/placement"
	"github.com/slipway-ci/slipway/internal/wire"
	"github.com/slipway-ci/slipway/tokens"
)

// HostState is how one host does, for people and APIs. There is no secret in it.
type HostState struct {
	Host
	// Cap is the cap in force, Held how many runners take up room.
	Cap, Held int
	// Online: its agent is connected. Since is when that became so, or ceased to be.
	Online bool
	Since  time.Time
	// Ready: its full list was taken over and its engine can be seen.
	Ready bool
	// NeedsUpdate: its agent's version is too far from ours.
	NeedsUpdate bool
	// Pending: its agent was never there. Lost: it has been away for longer than
	// Config.LostAfter.
	Pending, Lost bool
	// Problem says what is wrong, beginning with a word; empty where nothing is.
	Problem string
	// BackingOff is why kinds of runners wait there.
	BackingOff []string
	// Epoch counts the host's connections.
	Epoch uint64
	// Agent, Engine and Version are as the agent told them last: Host has the pair
	// that is set. The disk in Facts is that of the newest usage. Of a host that is
	// not online Facts and Cap are as last known, be it from before this hub started.
	Agent, Engine, Version string
	Facts                  Facts
	// Usage is how busy it was at UsageAt; zero: that was not told on this
	// connection yet.
	Usage   Usage
	UsageAt time.Time
	// FreeGPUs are the devices that no runner has.
	FreeGPUs []string
}

// ProblemDuplicated is the first word of the problem of hosts that share an
// engine, and of one that has two, or two agents.
const ProblemDuplicated = "host-duplicated"

// untangle is what to do about two hosts that tell one engine: which of them tells
// the truth, nobody but a person can know.
const untangle = "the one that is not that machine is to be revoked (slipway hosts revoke) or removed, and the other is let in"

// conflictShown is how long a conflict is shown after it was last seen: agents
// that are turned away come again in less.
const conflictShown = 10 * time.Minute

// Hosts tells how all hosts do, in the order of their ids.
func (f *Fleet) Hosts() []HostState {
	f.mu.Lock()
	defer f.unlock()
	now := time.Now()
	states, conflicts := make([]HostState, 0, len(f.order)), f.conflicts(now)
	for _, h := range f.order {
		states = append(states, f.state(h, conflicts[h.ID], now))
	}
	return states
}

// Host tells how one host does, and whether there is such a host.
func (f *Fleet) Host(id string) (HostState, bool) {
	f.mu.Lock()
	defer f.unlock()
	h, now := f.hosts[id], time.Now()
	if h == nil {
		return HostState{}, false
	}
	return f.state(h, f.conflicts(now)[id], now), true
}

func (f *Fleet) state(h *host, conflict string, now time.Time) HostState {
	look := h.look()
	st := HostState{
		Host: h.Host, Cap: look.Cap(), Held: look.Load.Held, Online: h.session != nil, Since: h.since, Ready: h.ready,
		NeedsUpdate: h.session != nil && h.session.needsUpdate, Pending: h.session == nil && h.pending(), Lost: f.lost(h, now), Epoch: h.epoch,
		Agent: h.agent, Engine: h.engine, Version: h.version,
		Facts: ownFacts(look.Facts), Usage: h.usage, UsageAt: h.usageAt, FreeGPUs: look.FreeGPUs(), BackingOff: look.Reasons(now),
	}
	st.Name, st.Labels = h.name(), maps.Clone(h.Labels)
	switch {
	case conflict == h.ID:
		st.Problem = ProblemDuplicated + ": it was told with another agent or engine than it is bound to: if that is meant, enrol it anew (slipway hosts reenrol)"
	case conflict != "":
		st.Problem = fmt.Sprintf("%s: with %s, whose agent tells the same engine: %s", ProblemDuplicated, f.nameOf(conflict), untangle)
	case h.instances.shown(now):
		st.Problem = ProblemDuplicated + ": " + twins
	case st.NeedsUpdate:
		st.Problem = "needs-update: agent " + cmp.Or(h.version, "of an unknown version")
	case h.blind != "" && st.Online:
		st.Problem = "blind: " + tokens.Redact(h.blind)
	case st.Pending:
		st.Problem = "pending: its agent has not been here yet"
	case st.Lost:
		st.Problem = HostLost
	case !st.Online:
		st.Problem = "offline"
	case len(h.foreign) > 0:
		st.Problem = fmt.Sprintf("foreign-runners: it tells of %s that it was not given", placement.Plural(len(h.foreign), "runner"))
	}
	return st
}

// conflicts names, for each host that shares its engine with another, that other,
// whoever of the two was turned away.
func (f *Fleet) conflicts(now time.Time) map[string]string {
	with := map[string]string{}
	for _, h := range f.order {
		if h.conflict == "" || now.Sub(h.conflictAt) >= conflictShown {
			continue
		}
		with[h.ID] = h.conflict
		if with[h.conflict] == "" {
			with[h.conflict] = h.ID
		}
	}
	return with
}

// nameOf is for people; a host that is not known any more has its id.
func (f *Fleet) nameOf(id string) string {
	if h := f.hosts[id]; h != nil {
		return h.name()
	}
	return id
}

// SetHost sets what is set for a host, which need not be known yet: all of it.
func (f *Fleet) SetHost(h Host) error {
	if h.ID == "" || h.MaxRunners < 0 {
		return fmt.Errorf("%w: an ID is needed, and MaxRunners must not be negative", ErrConfig)
	}
	f.mu.Lock()
	defer f.unlock()
	f.host(h.ID).set(h)
	f.notify()
	return nil
}

// Cordon makes a host get no new runners, or lets it have them again.
func (f *Fleet) Cordon(id string, cordoned bool) error {
	f.mu.Lock()
	defer f.unlock()
	h := f.hosts[id]
	if h == nil {
		return fmt.Errorf("%w: %s", ErrUnknownHost, id)
	}
	h.Cordoned = cordoned
	f.notify()
	return nil
}

// Forget discards a host with its records; with force also one that is online or
// has runners. Its id is to be refused by Authenticate from then on.
func (f *Fleet) Forget(id string, force bool) error {
	f.mu.Lock()
	defer f.unlock()
	h := f.hosts[id]
	switch {
	case h == nil:
		return fmt.Errorf("%w: %s", ErrUnknownHost, id)
	case !force && (h.session != nil || h.held() > 0):
		return fmt.Errorf("%w: %s", ErrBusyHost, h.name())
	}
	if s := h.session; s != nil {
		s.link.Bye(wire.ErrRemoved)
		s.over(wire.ErrRemoved)
	}
	for _, r := range h.runners {
		f.drop(r)
	}
	delete(f.hosts, id)
	f.order = slices.DeleteFunc(f.order, func(other *host) bool { return other == h })
	f.notify()
	return nil
}
