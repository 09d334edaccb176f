// Package door lets agents in: from an HTTP request, over its credential and the
// WebSocket, to a hello. What an agent may do then is its owner's (package fleet).
//
// Whoever comes without a good credential learns nothing but that. Whoever has one and
// owes the hello costs little: of one host only a few connections may.
package door

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/gorilla/websocket"
	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/internal/wire"
	"github.com/slipway-ci/slipway/tokens"
)

const (
	// sendQueue is how many frames may wait for a slow agent.
	sendQueue = 256
	// mostGreeting is how many connections of one host may be without their hello.
	mostGreeting = 8
)

// Caller is whose credential somebody has. Zero: nobody's.
type Caller struct {
	// Host is the host's id.
	Host string
	// Removed: the host was removed for good. Its agent is told so, and not let in.
	Removed bool
}

// Config is what a Door is made from. All fields are needed.
type Config struct {
	// Authenticate says whose agent token has this digest. The error is that this can't
	// be looked up.
	Authenticate func(ctx context.Context, digest tokens.Digest) (Caller, error)
	// Admit serves an agent that has said hello, until its session has ended. The error
	// is why it is turned away.
	Admit func(ctx context.Context, link *wire.Link, host string, hello *wire.Greeting) error
	// TurnedAway is told of the agent of a host that was, and why.
	TurnedAway func(level hclog.Level, host string, why error)
	// Logger is told of what is wrong here.
	Logger hclog.Logger
}

// Door is an http.Handler that lets agents in while it is open.
type Door struct {
	config Config
	inside sync.WaitGroup // requests, until their session has ended

	mu       sync.Mutex
	open     bool
	greeting map[*websocket.Conn]string // connections without their hello, and whose
	waiting  map[string]int             // how many of them are the host's
}

var _ http.Handler = (*Door)(nil)

// New makes a door that is not open yet.
func New(config Config) *Door {
	return &Door{config: config, greeting: map[*websocket.Conn]string{}, waiting: map[string]int{}}
}

// Open lets agents in from here on.
func (d *Door) Open() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open = true
}

// Close lets nobody in any more, and ends the connections that have yet to say hello.
// Sessions are their owner's to end.
func (d *Door) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open = false
	for conn := range d.greeting {
		d.inside.Go(func() { conn.Close() }) // may wait for a TLS alert
	}
}

// Wait waits, after Close, until every session has ended.
func (d *Door) Wait() { d.inside.Wait() }

var upgrader = websocket.Upgrader{
	Subprotocols: []string{wire.Subprotocol}, HandshakeTimeout: wire.HelloTimeout,
	Error: func(w http.ResponseWriter, _ *http.Request, status int, _ error) {
		http.Error(w, "no agent's request", status)
	},
}

// ServeHTTP returns to its server when the session has ended. It answers 401 whatever
// is wrong with a credential.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	caller, err := d.authenticate(r)
	switch {
	case err != nil:
		d.config.Logger.Error("authenticate an agent", "err", tokens.Redact(err.Error()))
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	case caller == Caller{}:
		w.Header().Set("WWW-Authenticate", "Bearer")
		http.Error(w, "unauthorized", http.StatusUnauthorized)
		return
	case !d.enter():
		http.Error(w, "not serving", http.StatusServiceUnavailable)
		return
	}
	defer d.inside.Done()
	if !websocket.IsWebSocketUpgrade(r) || !offers(r, wire.Subprotocol) {
		http.Error(w, "a WebSocket of subprotocol "+wire.Subprotocol+" is needed", http.StatusBadRequest)
		return
	}
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // the upgrader has answered
	}
	d.greet(r.Context(), conn, caller)
}

func (d *Door) authenticate(r *http.Request) (Caller, error) {
	scheme, text, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	token, err := tokens.Parse(strings.TrimSpace(text))
	if err != nil || !strings.EqualFold(scheme, "Bearer") || token.Kind() != tokens.Agent {
		return Caller{}, nil
	}
	return d.config.Authenticate(r.Context(), token.Digest())
}

func offers(r *http.Request, subprotocol string) bool {
	for _, offered := range websocket.Subprotocols(r) {
		if offered == subprotocol {
			return true
		}
	}
	return false
}

// enter counts one more inside; false: the door is not open.
func (d *Door) enter() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open {
		d.inside.Add(1)
	}
	return d.open
}

// greet is a connection, from hello to its end. The hello of a removed host's agent is
// read too, and not looked at: one that has not said it may not hear the rest.
func (d *Door) greet(ctx context.Context, conn *websocket.Conn, caller Caller) {
	link := wire.NewLink(conn, sendQueue)
	hello, err := d.hello(link, conn, caller)
	level := hclog.Warn
	switch {
	case caller.Removed:
		level, err = hclog.Info, cmp.Or(err, wire.ErrRemoved)
	case err == nil:
		err = d.config.Admit(ctx, link, caller.Host, hello.Hello)
	}
	if err != nil {
		d.config.TurnedAway(level, caller.Host, err)
		link.Refuse(err)
	}
}

// hello reads the first frame.
func (d *Door) hello(link *wire.Link, conn *websocket.Conn, caller Caller) (wire.Frame, error) {
	id := caller.Host
	if caller.Removed {
		id = "removed " + id // it takes no place from others
	}
	if !d.greets(conn, id) {
		return wire.Frame{}, wire.ErrStopping
	}
	defer d.greeted(conn)
	hello, err := link.First(wire.MaxHello)
	if err == nil && hello.Type != wire.Hello {
		err = fmt.Errorf("%w: %s before a hello", wire.ErrViolation, hello)
	}
	return hello, err
}

// greets notes a connection that has yet to say hello; false: there are too many, or
// the door is closed.
func (d *Door) greets(conn *websocket.Conn, id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.open || d.waiting[id] >= mostGreeting {
		return false
	}
	d.greeting[conn] = id
	d.waiting[id]++
	return true
}

func (d *Door) greeted(conn *websocket.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	id := d.greeting[conn]
	delete(d.greeting, conn)
	if d.waiting[id]--; d.waiting[id] <= 0 {
		delete(d.waiting, id)
	}
}
