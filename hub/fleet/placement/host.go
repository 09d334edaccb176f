package placement

import (
	"cmp"
	"time"

	"github.com/slipway-ci/slipway/internal/wire"
)

// Host is one host as it is now. Its owner keeps the fields true; what the Placer
// remembers of it is its own. Make it with NewHost.
type Host struct {
	// ID, Name, Labels, MaxRunners and Cordoned are as they are set.
	ID, Name   string
	Labels     map[string]string
	MaxRunners int
	Cordoned   bool
	// Online: its agent is connected. NeedsUpdate: that is too far from our version.
	// Listed: its full list was taken over. Ready: its engine can be seen, or else Blind
	// says why not.
	Online, NeedsUpdate, Listed, Ready bool
	Blind                              string
	// Facts are as its agent told them last.
	Facts wire.HostFacts
	// Load is what its runners take up.
	Load Load

	failures  map[string]*failure // by Ask.key, as exhausted is
	exhausted map[string]*pause
	fetching  map[string]bool // by kind, as prepared is: what such runners need
	prepared  map[string]bool // in this session
	pass      uint64          // its turns, see Choose
	turn      uint64          // when the last of them was
}

// NewHost makes a host that is owed no turns.
func (p *Placer) NewHost() *Host {
	return &Host{
		failures: map[string]*failure{}, exhausted: map[string]*pause{}, fetching: map[string]bool{}, prepared: map[string]bool{}, pass: p.level,
	}
}

// Cap is how many runners it may hold: what is set for it, or its CPUs, and never
// more than its own policy allows.
func (h *Host) Cap() int {
	most := cmp.Or(h.MaxRunners, h.Facts.CPUs)
	if policy := h.Facts.MaxRunners; policy > 0 {
		most = min(most, policy)
	}
	return most
}

// FreeGPUs are the devices that no runner has, in the order that they are told in.
func (h *Host) FreeGPUs() (ids []string) {
	for _, gpu := range h.Facts.GPUs {
		if !h.Load.GPUs[gpu.ID] {
			ids = append(ids, gpu.ID)
		}
	}
	return ids
}

// slow says whether a launch has gone unanswered for d, and for any time at all.
func (h *Host) slow(now time.Time, d time.Duration) bool {
	since := h.Load.Waiting
	return !since.IsZero() && now.After(since) && now.Sub(since) >= d
}

// Reconnected begins a session: what its agent told before may not be so any more. What
// it refused by its own policy may be tried again.
func (h *Host) Reconnected() {
	clear(h.prepared)
	for key, failing := range h.failures {
		if failing.past = true; failing.refused {
			delete(h.failures, key)
		}
	}
}

// EngineSeen ends what only waited for its engine.
func (h *Host) EngineSeen() {
	for key, failing := range h.failures {
		if failing.unavailable {
			delete(h.failures, key)
		}
	}
	h.Freed()
}

// Freed says that there may be room where there was none by the host's own word.
func (h *Host) Freed() { clear(h.exhausted) }

// Fetch notes that the host is fetching what such runners need: it is passed over
// meanwhile, unless it had all of it before.
func (h *Host) Fetch(a *Ask) {
	if !h.prepared[a.Kind] {
		h.fetching[a.Kind] = true
	}
}

// Fetched ends Fetch; ok says whether the host has all of it now.
func (h *Host) Fetched(a *Ask, ok bool) {
	delete(h.fetching, a.Kind)
	switch {
	case !ok:
		delete(h.prepared, a.Kind)
	case len(h.prepared) < mostKinds:
		h.prepared[a.Kind] = true
	}
}
