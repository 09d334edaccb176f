package fleet

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/websocket"
	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/internal/wire"
	"github.com/slipway-ci/slipway/tokens"
)

// Path is where agents connect: Handler is to be served there.
const Path = wire.Path

var upgrader = websocket.Upgrader{
	Subprotocols: []string{wire.Subprotocol}, HandshakeTimeout: wire.HelloTimeout,
	Error: func(w http.ResponseWriter, _ *http.Request, status int, _ error) {
		http.Error(w, "no agent's request", status)
	},
}

// Handler takes the connections of agents. It returns to its server when the
// session has ended, and answers 401 whatever is wrong with a credential.
func (f *Fleet) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, err := f.authenticate(r)
		removed := errors.Is(err, ErrRemoved)
		switch {
		case removed:
		case errors.Is(err, ErrRefused):
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "unauthorized", http.StatusUnauthorized)
			return
		case err != nil:
			f.log.Error("authenticate an agent", "err", tokens.Redact(err.Error()))
			http.Error(w, "internal error", http.StatusInternalServerError)
			return
		}
		if !f.enter() {
			http.Error(w, "not serving", http.StatusServiceUnavailable)
			return
		}
		defer f.tasks.Done()
		if !websocket.IsWebSocketUpgrade(r) || !offers(r, wire.Subprotocol) {
			http.Error(w, "a WebSocket of subprotocol "+wire.Subprotocol+" is needed", http.StatusBadRequest)
			return
		}
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return // the upgrader has answered
		}
		if removed {
			f.sendAway(conn, host)
			return
		}
		f.serve(r.Context(), conn, host)
	})
}

func (f *Fleet) authenticate(r *http.Request) (host string, err error) {
	scheme, text, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	token, err := tokens.Parse(strings.TrimSpace(text))
	if err != nil || !strings.EqualFold(scheme, "Bearer") || token.Kind() != tokens.Agent {
		return "", ErrRefused
	}
	host, err = f.config.Authenticate(r.Context(), token.Digest())
	if err == nil && host == "" {
		return "", ErrRefused
	}
	return host, err
}

func offers(r *http.Request, subprotocol string) bool {
	for _, offered := range websocket.Subprotocols(r) {
		if offered == subprotocol {
			return true
		}
	}
	return false
}

// enter makes Run wait for one more; false: it has not begun, or is ending.
func (f *Fleet) enter() bool {
	f.mu.Lock()
	defer f.unlock()
	if !f.open {
		return false
	}
	f.tasks.Add(1)
	return true
}

// sendAway tells the agent of a host that was removed so. Its hello is read, and
// not looked at: one that has not said it may not have heard the rest.
func (f *Fleet) sendAway(conn *websocket.Conn, id string) {
	link := wire.NewLink(conn, 1)
	why := wire.ErrRemoved
	if _, err := f.hello(link, conn, "removed "+id); err != nil {
		why = err
	}
	f.turnedAway(hclog.Info, id, why)
	link.Refuse(why)
}

func (f *Fleet) turnedAway(level hclog.Level, id string, why error) {
	f.mu.Lock()
	defer f.unlock()
	if f.talks(id) {
		f.say(level, "agent turned away", "host", id, "err", tokens.Redact(why.Error()))
	}
}

// hello reads the first frame. Of one host only a few connections may owe it.
func (f *Fleet) hello(link *wire.Link, conn *websocket.Conn, id string) (wire.Frame, error) {
	if !f.greets(conn, id) {
		return wire.Frame{}, wire.ErrStopping
	}
	hello, err := link.First(wire.MaxHello)
	f.greeted(conn)
	if err == nil && hello.Type != wire.Hello {
		err = fmt.Errorf("%w: %s before a hello", wire.ErrViolation, hello)
	}
	return hello, err
}

// serve is one session, from hello to its end.
func (f *Fleet) serve(ctx context.Context, conn *websocket.Conn, id string) {
	link := wire.NewLink(conn, sendQueue)
	hello, err := f.hello(link, conn, id)
	var s *session
	if err == nil {
		s, err = f.register(link, id, hello.Hello)
	}
	if err != nil {
		f.turnedAway(hclog.Warn, id, err)
		link.Refuse(err)
		return
	}
	s.run(ctx)
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
	if before := h.session; before != nil {
		before.link.Bye(wire.ErrSuperseded)
		before.over(wire.ErrSuperseded)
	}
	version, ok := wire.Agree(wire.Protocol, hello.Protocol)
	h.epoch++
	h.agent, h.engine, h.version, h.facts = hello.Agent, hello.Engine, hello.Version, hello.Facts
	h.since, h.ready, h.blind, h.lostTold, h.conflict = now, false, "", false, ""
	h.usage, h.usageAt = wire.Usage{}, time.Time{}
	clear(h.prepared)
	s := &session{fleet: f, host: h, link: link, epoch: h.epoch, needsUpdate: !ok, pending: map[uint64]*call{}, chores: make(chan struct{}, 1)}
	h.session = s
	link.Share(h.budget)
	terms := &wire.Terms{Epoch: s.epoch, HeartbeatMS: f.config.Heartbeat.Milliseconds(), NeedsUpdate: !ok, Hub: f.config.Version}
	if ok {
		terms.Protocol = version
	}
	f.emit(SessionEvent{
		Kind: Connected, Host: h.ID, Epoch: s.epoch, Agent: h.agent, Engine: h.engine, Version: h.version, NeedsUpdate: !ok, Facts: h.facts,
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
		return fmt.Sprintf("its engine is told as another's too: hosts %s and %s", h.name(), other.name())
	case h.Agent != "" && h.Agent != hello.Agent:
		return fmt.Sprintf("host %s is another agent's: if this one is meant, enrol it anew (slipway hosts reenrol); for the host beside the hub, start the hub anew", h.name())
	}
	return fmt.Sprintf("host %s is bound to another engine: if that was replaced, enrol it anew (slipway hosts reenrol); for the host beside the hub, start the hub anew", h.name())
}

// mostGreeting is how many connections of one host may be without their hello.
const mostGreeting = 8

// greets notes a connection that has yet to say hello; false: there are too many,
// or Run is ending.
func (f *Fleet) greets(conn *websocket.Conn, id string) bool {
	f.mu.Lock()
	defer f.unlock()
	if !f.open || f.waiting[id] >= mostGreeting {
		return false
	}
	f.greeting[conn] = id
	f.waiting[id]++
	return true
}

func (f *Fleet) greeted(conn *websocket.Conn) {
	f.mu.Lock()
	defer f.unlock()
	id := f.greeting[conn]
	delete(f.greeting, conn)
	if f.waiting[id]--; f.waiting[id] <= 0 {
		delete(f.waiting, id)
	}
}
