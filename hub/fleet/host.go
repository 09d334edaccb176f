package fleet

import (
	"cmp"
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
	facts                  wire.Facts
	conflict               string    // the other host, or the same id
	conflictAt             time.Time // when it was last turned away
	foreign                map[string]bool

	runners   map[string]*record
	failures  map[string]*failure // by kind
	prepared  map[string]bool     // by kind, in this session
	preparing map[string]*flight  // by kind
}

func (h *host) name() string { return cmp.Or(h.Name, h.ID) }

// reachable says whether it can be asked things: its full list was there once.
func (h *host) reachable() bool { return h.session != nil && h.session.listed }

// cap is how many runners it may hold.
func (h *host) cap() int { return cmp.Or(h.MaxRunners, h.facts.CPUs) }

// held is how many runners take up room. It is counted, not kept.
func (h *host) held() int {
	n := 0
	for _, r := range h.runners {
		if r.holds() {
			n++
		}
	}
	return n
}

// room is how many more it may hold.
func (h *host) room() int { return max(0, h.cap()-h.held()) }

// slow says whether a launch has gone unanswered for longer than d.
func (h *host) slow(now time.Time, d time.Duration) bool {
	for _, r := range h.runners {
		if r.calls > 0 && now.Sub(r.asked) > d {
			return true
		}
	}
	return false
}

func (f *Fleet) lost(h *host, now time.Time) bool {
	return h.session == nil && now.Sub(h.since) >= f.config.LostAfter
}

// failing reports whether launches of the kind wait there.
func (h *host) failing(kind string, now time.Time) bool {
	failure := h.failures[kind]
	return failure != nil && now.Before(failure.until)
}

// obstacle says in a word why the host gets no runner of that kind now; empty:
// it may.
func (h *host) obstacle(kind string, now time.Time) string {
	switch {
	case h.session == nil:
		return "offline"
	case h.session.needsUpdate:
		return "needs-update"
	case !h.session.listed:
		return "not ready"
	case !h.ready:
		return "blind"
	case h.Cordoned:
		return "cordoned"
	case h.room() == 0:
		return "full"
	case h.failing(kind, now):
		return "backing off"
	default:
		return ""
	}
}
