package fleet

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/slipway-ci/slipway/hub/fleet/flight"
	"github.com/slipway-ci/slipway/hub/fleet/hush"
	"github.com/slipway-ci/slipway/hub/fleet/placement"
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
	returned time.Time // when it came back the last time that it was lost

	agent, engine, version string
	usage                  wire.Usage
	usageAt                time.Time // zero: it was never told
	conflict               string    // the other host, or the same id
	conflictAt             time.Time // when it was last turned away
	instances              instances
	foreign                map[string]bool
	budget                 *wire.Budget // of all its connections
	secrets                hush.Secrets // that it was given

	runners   map[string]*record
	place     *placement.Host // how placement sees it, the facts and the load among it; see look
	counted   bool            // the load is that of now, and doomed is
	doomed    int
	preparing map[string]*flight.Flight // by kind
}

func newHost(id string, place *placement.Host, now time.Time) *host {
	return &host{
		Host: Host{ID: id}, since: now, runners: map[string]*record{}, place: place,
		foreign: map[string]bool{}, budget: wire.NewBudget(), preparing: map[string]*flight.Flight{},
	}
}

// set takes in what is set for it, and keeps nothing of the caller's.
func (h *host) set(to Host) {
	to.Labels = maps.Clone(to.Labels)
	if h.epoch == 0 { // else its agent has told newer ones
		h.place.Facts = ownFacts(to.LastFacts)
	}
	to.LastFacts = Facts{}
	if h.Engine != "" && to.Engine == "" {
		h.engine = ""
	}
	h.Host = to
}

// ownFacts shares nothing with what it is made from.
func ownFacts(facts Facts) Facts {
	facts.Hints, facts.Runtimes, facts.GPUs = maps.Clone(facts.Hints), slices.Clone(facts.Runtimes), slices.Clone(facts.GPUs)
	return facts
}

// gives remembers what is sent to it, to cut it out of what comes back.
func (h *host) gives(c *wire.Credential) {
	if c != nil {
		h.secrets.Add(c.Username, c.Password)
	}
}

// heard is an error as its agent told it, without what it was given.
func (h *host) heard(e *wire.Error) error {
	return (&wire.Error{Code: e.Code, Message: h.secrets.Cut(e.Message)}).Err()
}

func (h *host) name() string { return cmp.Or(h.Name, h.ID) }

// reachable says whether it can be asked things: its full list was there once.
func (h *host) reachable() bool { return h.session != nil && h.session.listed }

// count is the load as it is now. It is counted anew when a runner has changed, never
// kept by steps: what is counted can't drift.
func (h *host) count() *placement.Load {
	l := &h.place.Load
	if h.counted {
		return l
	}
	l.Reset()
	h.doomed, h.counted = 0, true
	for _, r := range h.runners {
		if r.calls > 0 {
			l.Wait(r.asked)
		}
		if r.doomed {
			h.doomed++
		}
		if r.holds() {
			l.Add(r.template, r.share)
		}
	}
	h.place.Settle(func(id string) bool { return h.runners[id] != nil && h.runners[id].holds() })
	return l
}

// held is how many runners take up room.
func (h *host) held() int { return h.count().Held }

// pending says whether it was never there, as far as anybody knows.
func (h *host) pending() bool { return h.epoch == 0 && h.LastSeen.IsZero() && len(h.runners) == 0 }

func (f *Fleet) lost(h *host, now time.Time) bool {
	return h.session == nil && now.Sub(h.since) >= f.config.LostAfter && !h.pending()
}
