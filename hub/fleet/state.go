package fleet

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

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
	// Lost: it has been away for longer than Config.LostAfter.
	Lost bool
	// Problem says what is wrong, beginning with a word; empty where nothing is.
	Problem string
	// BackingOff is why kinds of runners wait there.
	BackingOff []string
	// Epoch counts the host's connections.
	Epoch uint64
	// Agent, Engine, Version and the facts are as the agent told them.
	Agent, Engine, Version string
	OS, Arch               string
	CPUs                   int
	Memory                 int64
	Hints                  map[string]string
}

// ProblemDuplicated is the first word of the problem of hosts that share an
// engine, and of one that has two.
const ProblemDuplicated = "host-duplicated"

// conflictShown is how long a conflict is shown after it was last seen: agents
// that are turned away come again in less.
const conflictShown = 10 * time.Minute

// Hosts tells how all hosts do, in the order of their ids.
func (f *Fleet) Hosts() []HostState {
	f.mu.Lock()
	defer f.unlock()
	now := time.Now()
	var states []HostState
	for _, id := range f.ids() {
		states = append(states, f.state(f.hosts[id], now))
	}
	return states
}

func (f *Fleet) state(h *host, now time.Time) HostState {
	st := HostState{
		Host: h.Host, Cap: h.cap(), Held: h.held(), Online: h.session != nil, Since: h.since, Ready: h.ready,
		NeedsUpdate: h.session != nil && h.session.needsUpdate, Lost: f.lost(h, now), Epoch: h.epoch,
		Agent: h.agent, Engine: h.engine, Version: h.version,
		OS: h.facts.OS, Arch: h.facts.Arch, CPUs: h.facts.CPUs, Memory: h.facts.Memory, Hints: maps.Clone(h.facts.Hints),
	}
	st.Name = h.name()
	for _, failing := range h.failures {
		if now.Before(failing.until) {
			st.BackingOff = append(st.BackingOff, failing.reason)
		}
	}
	slices.Sort(st.BackingOff)
	conflict := f.conflictOf(h, now)
	switch {
	case conflict != "":
		st.Problem = ProblemDuplicated + ": with " + conflict
	case st.NeedsUpdate:
		st.Problem = "needs-update: agent " + cmp.Or(h.version, "of an unknown version")
	case h.blind != "" && st.Online:
		st.Problem = "blind: " + tokens.Redact(h.blind)
	case st.Lost:
		st.Problem = HostLost
	case !st.Online:
		st.Problem = "offline"
	case len(h.foreign) > 0:
		st.Problem = fmt.Sprintf("foreign-runners: it tells of %d runners of other hosts", len(h.foreign))
	}
	return st
}

// conflictOf names the host that shares its engine with h, whoever of the two
// was turned away.
func (f *Fleet) conflictOf(h *host, now time.Time) string {
	fresh := func(h *host) bool { return h.conflict != "" && now.Sub(h.conflictAt) < conflictShown }
	if fresh(h) {
		return h.conflict
	}
	for _, id := range f.ids() {
		if other := f.hosts[id]; fresh(other) && other.conflict == h.ID {
			return id
		}
	}
	return ""
}

// SetHost sets what is set for a host, which need not be known yet.
func (f *Fleet) SetHost(h Host) error {
	if h.ID == "" || h.MaxRunners < 0 {
		return fmt.Errorf("%w: an ID is needed, and MaxRunners must not be negative", ErrConfig)
	}
	f.mu.Lock()
	defer f.unlock()
	f.host(h.ID).Host = h
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
	f.notify()
	return nil
}

// Relist asks a host's agent for its full list.
func (f *Fleet) Relist(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, f.config.CallTimeout)
	defer cancel()
	f.mu.Lock()
	h := f.hosts[id]
	if h == nil || !h.reachable() {
		f.unlock()
		return fmt.Errorf("list host %s: %w", id, ErrOffline)
	}
	s := h.session
	c, err := s.begin(ctx, wire.Frame{Type: wire.List}, nil)
	f.unlock()
	if err == nil {
		err = s.await(ctx, c)
	}
	if err != nil {
		return fmt.Errorf("list host %s: %w", id, err)
	}
	return nil
}
