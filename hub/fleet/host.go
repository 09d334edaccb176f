package fleet

import (
	"cmp"
	"maps"
	"math"
	"time"

	"github.com/slipway-ci/slipway/internal/wire"
)

// host is one machine. The fleet's lock guards it.
type host struct {
	Host
	session *session // nil while it is away
	epoch   uint64   // of the newest session
	since   time.Time
	// ready: this session's full list was taken over, and the engine can be seen.
	ready    bool
	blind    string // why the engine can't be seen
	lostTold bool

	agent, engine, version string
	facts                  wire.HostFacts
	usage                  wire.Usage
	usageAt                time.Time // zero: it was never told
	conflict               string    // the other host, or the same id
	conflictAt             time.Time // when it was last turned away
	foreign                map[string]bool
	budget                 *wire.Budget // of all its connections

	runners   map[string]*record
	counted   bool // the tally is of now
	tally     tally
	failures  map[string]*failure // by failureKey
	exhausted map[string]*pause   // by failureKey
	prepared  map[string]bool     // by kind, in this session
	preparing map[string]*flight  // by kind

	pass, turn uint64 // see choose
}

// tally is what the runners of a host take up. It is counted anew when one of
// them has changed, never kept by steps: what is counted can't drift.
type tally struct {
	held       int
	cpu        int64 // in thousandths
	memory     int64
	gpus       map[string]bool
	templates  map[string]int
	unanswered int       // launches
	waiting    time.Time // since when the oldest of them is; zero: none is
	doomed     int
}

func newHost(id string, now time.Time) *host {
	return &host{
		Host: Host{ID: id}, since: now, runners: map[string]*record{}, failures: map[string]*failure{}, exhausted: map[string]*pause{},
		foreign: map[string]bool{}, budget: wire.NewBudget(), prepared: map[string]bool{}, preparing: map[string]*flight{}, tally: tally{templates: map[string]int{}},
	}
}

// set takes in what is set for it, and keeps nothing of the caller's.
func (h *host) set(to Host) {
	to.Labels = maps.Clone(to.Labels)
	h.Host = to
}

func (h *host) name() string { return cmp.Or(h.Name, h.ID) }

// reachable says whether it can be asked things: its full list was there once.
func (h *host) reachable() bool { return h.session != nil && h.session.listed }

// cap is how many runners it may hold: what is set for it, or its CPUs, and never
// more than its own policy allows.
func (h *host) cap() int {
	most := cmp.Or(h.MaxRunners, h.facts.CPUs)
	if policy := h.facts.MaxRunners; policy > 0 {
		most = min(most, policy)
	}
	return most
}

// count is the tally as it is now.
func (h *host) count() *tally {
	t := &h.tally
	if h.counted {
		return t
	}
	clear(t.templates)
	*t = tally{templates: t.templates}
	for _, r := range h.runners {
		if r.calls > 0 {
			t.unanswered++
			if t.waiting.IsZero() || r.asked.Before(t.waiting) {
				t.waiting = r.asked
			}
		}
		if r.doomed {
			t.doomed++
		}
		if r.holds() {
			t.add(r)
		}
	}
	h.counted = true
	return t
}

func (t *tally) add(r *record) {
	t.held++
	t.cpu = plus(t.cpu, milli(r.share.CPU))
	t.memory = plus(t.memory, r.share.Memory)
	t.templates[r.template]++
	for _, id := range r.share.GPUs {
		if t.gpus == nil {
			t.gpus = map[string]bool{}
		}
		t.gpus[id] = true
	}
}

// plus adds what is not negative, and does not overflow.
func plus(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// milli is a number of CPUs in thousandths.
func milli(cpus float64) int64 {
	switch {
	case !(cpus > 0):
		return 0
	case cpus > 1e9:
		return 1e12
	default:
		return int64(math.Ceil(cpus*1000 - 1e-6))
	}
}

// held is how many runners take up room.
func (h *host) held() int { return h.count().held }

// freeGPUs are the devices that no runner has, in the order that they are told in.
func (h *host) freeGPUs() (ids []string) {
	taken := h.count().gpus
	for _, gpu := range h.facts.GPUs {
		if !taken[gpu.ID] {
			ids = append(ids, gpu.ID)
		}
	}
	return ids
}

// slow says whether a launch has gone unanswered for d, and for any time at all.
func (h *host) slow(now time.Time, d time.Duration) bool {
	since := h.count().waiting
	return !since.IsZero() && now.After(since) && now.Sub(since) >= d
}

func (f *Fleet) lost(h *host, now time.Time) bool {
	return h.session == nil && now.Sub(h.since) >= f.config.LostAfter
}
