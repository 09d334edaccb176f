package fleet

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/hub/fleet/door"
	"github.com/slipway-ci/slipway/internal/wire"
	"github.com/slipway-ci/slipway/tokens"
)

// Path is where agents connect: Handler is to be served there.
const Path = wire.Path

// Handler takes the connections of agents. It returns to its server when the
// session has ended, and answers 401 whatever is wrong with a credential.
func (f *Fleet) Handler() http.Handler { return f.door }

func (f *Fleet) newDoor() *door.Door {
	return door.New(door.Config{Authenticate: f.caller, Admit: f.admit, TurnedAway: f.turnedAway, Logger: f.log})
}

// caller is whose credential it is.
func (f *Fleet) caller(ctx context.Context, digest tokens.Digest) (door.Caller, error) {
	host, err := f.config.Authenticate(ctx, digest)
	switch {
	case errors.Is(err, ErrRemoved):
		return door.Caller{Host: host, Removed: true}, nil
	case errors.Is(err, ErrRefused):
		return door.Caller{}, nil
	}
	return door.Caller{Host: host}, err
}

func (f *Fleet) turnedAway(level hclog.Level, id string, why error) {
	f.mu.Lock()
	defer f.unlock()
	if f.talks(id) {
		f.say(level, "agent turned away", "host", id, "err", tokens.Redact(why.Error()))
	}
}

// admit is one session, from its welcome to its end.
func (f *Fleet) admit(ctx context.Context, link *wire.Link, id string, hello *wire.Greeting) error {
	s, err := f.register(link, id, hello)
	if err == nil {
		s.run(ctx)
	}
	return err
}

// register makes a session the host's own, and ends the one before.
func (f *Fleet) register(link *wire.Link, id string, hello *wire.Greeting) (*session, error) {
	f.mu.Lock()
	defer f.unlock()
	if !f.open {
		return nil, wire.ErrStopping
	}
	now := time.Now()
	h := f.host(id)
	if other := f.claimed(h, hello); other != nil {
		h.conflict, h.conflictAt = other.ID, now
		f.notify()
		return nil, fmt.Errorf("%w: %s", wire.ErrDuplicated, h.clash(other, hello))
	}
	if away, first := h.turnsAway(hello.Instance, link.Opened(), now); away {
		if first {
			f.events.Put(SessionEvent{Kind: Duplicated, Host: h.ID, Epoch: h.epoch, Reason: twins})
		}
		f.notify()
		return nil, fmt.Errorf("%w: host %s is another agent's that is connected, or was a moment ago: %s", wire.ErrDuplicated, h.name(), twins)
	}
	if before := h.session; before != nil {
		before.link.Bye(wire.ErrSuperseded)
		before.over(wire.ErrSuperseded)
	}
	if f.lost(h, now) {
		h.returned = now
	}
	version, ok := wire.Agree(wire.Protocol, hello.Protocol)
	h.epoch++
	h.agent, h.engine, h.version, h.place.Facts = hello.Agent, hello.Engine, hello.Version, hello.Facts
	h.since, h.ready, h.blind, h.lostTold, h.conflict = now, false, "", false, ""
	h.instances.letIn(hello.Instance, link.Opened(), now)
	h.usage, h.usageAt = wire.Usage{}, time.Time{}
	h.place.Reconnected()
	s := &session{fleet: f, host: h, link: link, epoch: h.epoch, needsUpdate: !ok, pending: map[uint64]*call{}, chores: make(chan struct{}, 1)}
	h.session = s
	link.Share(h.budget)
	terms := &wire.Terms{Epoch: s.epoch, HeartbeatMS: f.config.Heartbeat.Milliseconds(), NeedsUpdate: !ok, Hub: f.config.Version}
	if ok {
		terms.Protocol = version
	}
	f.events.Put(SessionEvent{
		Kind: Connected, Host: h.ID, Epoch: s.epoch, Agent: h.agent, Engine: h.engine, Version: h.version, NeedsUpdate: !ok, Facts: h.place.Facts,
	})
	if f.talks(h.ID) {
		f.say(hclog.Info, "agent connected", "host", h.name(), "epoch", s.epoch, "version", hello.Version, "needs_update", !ok)
	}
	f.notify()
	_, err := link.Send(wire.Frame{Type: wire.Welcome, Welcome: terms})
	return s, err
}

// claimed finds whose pair of agent and engine the hello is, when it is not that of
// h: another host that is bound to the engine, or uses it now; or h itself, bound
// to another pair, or used with another engine.
func (f *Fleet) claimed(h *host, hello *wire.Greeting) *host {
	engine := hello.Engine
	if h.Agent != "" && h.Agent != hello.Agent {
		return h
	}
	if engine == "" {
		return nil
	}
	inUse := func(h *host) bool { return h.engine != "" && (h.session != nil || len(h.runners) > 0) }
	if h.Engine != "" && h.Engine != engine || inUse(h) && h.engine != engine {
		return h
	}
	for _, other := range f.order {
		if other != h && (other.Engine == engine || other.engine == engine && inUse(other)) {
			return other
		}
	}
	return nil
}

// clash says in words what claimed found.
func (h *host) clash(other *host, hello *wire.Greeting) string {
	switch {
	case other != h:
		return fmt.Sprintf("its engine is told as another's too: hosts %s and %s: %s", h.name(), other.name(), untangle)
	case h.Agent != "" && h.Agent != hello.Agent:
		return fmt.Sprintf("host %s is another agent's: if this one is meant, enrol it anew (slipway hosts reenrol); for the host beside the hub, start the hub anew", h.name())
	}
	return fmt.Sprintf("host %s is bound to another engine: if that was replaced, enrol it anew (slipway hosts reenrol); for the host beside the hub, start the hub anew", h.name())
}
