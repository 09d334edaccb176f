package memory

import (
	"fmt"
	"sync"
	"time"

	"github.com/slipway-ci/slipway/backend"
)

// Config says how an Engine behaves. The zero value is an engine with one
// nameless host without bounds whose runners start at once, run until they are
// told to end, and never fail.
type Config struct {
	// Hosts are where runners live; default one host without a name or a bound.
	// With a nameless host that is offline nothing is known, so List errs; what
	// lives on a named one is told as Unknown.
	Hosts []Host
	// Behaviour says what the runner of a spec does; nil: Program{}.
	Behaviour func(backend.Spec) Program
	// Fault says what goes wrong with one call; nil: nothing. It is called
	// without the engine's lock, from the goroutine of the call, once per call.
	Fault func(Call) Fault
	// Pull says how long an image takes to fetch, and how that ends; nil: every
	// image is there. An image once fetched stays.
	Pull func(image string) (time.Duration, error)
	// Observe is told of every effect, in order, under the engine's lock: it
	// must not call the engine.
	Observe func(Event)
}

// Host is a place for runners.
type Host struct {
	// Name is told in Runner.Host.
	Name string
	// Room is how many runners may hold a slot there; 0: no bound.
	Room int
	// Skew is how far the host's clock is ahead of ours.
	Skew time.Duration
}

// Event is one effect on an engine.
type Event struct {
	// Kind is what happened.
	Kind Kind
	// At is when, by our clock. A runner's end, and a late launch, are told when
	// the engine is next looked at, with the time at which they were due.
	At time.Time
	// Owner is whose runner it is.
	Owner string
	// Spec is what it was launched with, environment included.
	Spec backend.Spec
	// Runner is what became of it.
	Runner backend.Runner
}

// Kind is the kind of an effect.
type Kind string

// The kinds of effects.
const (
	// Created: the runner is made and not started: see Fault.Half.
	Created Kind = "created"
	// Launched: the runner is started.
	Launched Kind = "launched"
	// Ended: its process has ended; its slot is free.
	Ended Kind = "ended"
	// Removed: it is gone.
	Removed Kind = "removed"
)

// Engine holds the runners of all owners. Its methods may be called from many
// goroutines at once.
type Engine struct {
	config Config

	mu      sync.Mutex
	hosts   []*host
	runners map[string]*runner
	late    []lateLaunch
	images  map[string]time.Time // when its fetch is done
	changed chan struct{}        // closed and made anew at every change
	turn    int                  // where the search for a host begins
}

type host struct {
	Host
	offline  bool
	reserved int // launches under way
}

// New makes an engine.
func New(config Config) *Engine {
	if len(config.Hosts) == 0 {
		config.Hosts = []Host{{}}
	}
	if config.Behaviour == nil {
		config.Behaviour = func(backend.Spec) Program { return Program{} }
	}
	if config.Fault == nil {
		config.Fault = func(Call) Fault { return Fault{} }
	}
	e := &Engine{
		config:  config,
		runners: map[string]*runner{},
		images:  map[string]time.Time{},
		changed: make(chan struct{}),
	}
	for _, h := range config.Hosts {
		e.hosts = append(e.hosts, &host{Host: h})
	}
	return e
}

// Backend opens the engine for owner. Opening it again is what a restart of the
// owner does.
func (e *Engine) Backend(owner string) *Backend { return &Backend{engine: e, owner: owner} }

// lock takes the lock and applies what is due. Every look and every effect goes
// through it.
func (e *Engine) lock() time.Time {
	e.mu.Lock()
	now := time.Now()
	e.settle(now)
	return now
}

// notify wakes those who Watch.
func (e *Engine) notify() {
	close(e.changed)
	e.changed = make(chan struct{})
}

func (e *Engine) observe(kind Kind, at time.Time, r *runner) {
	e.notify()
	if e.config.Observe != nil {
		e.config.Observe(Event{Kind: kind, At: at, Owner: r.owner, Spec: r.spec, Runner: r.tell(at)})
	}
}

// place finds a host for one more runner: round robin over those with room.
func (e *Engine) place() (*host, error) {
	online := false
	for i := range e.hosts {
		h := e.hosts[(e.turn+i)%len(e.hosts)]
		if h.offline {
			continue
		}
		online = true
		if e.room(h) > 0 {
			e.turn = (e.turn + i + 1) % len(e.hosts)
			return h, nil
		}
	}
	if !online {
		return nil, backend.ErrUnavailable
	}
	return nil, backend.ErrExhausted
}

// unbounded is the room of a host without a bound.
const unbounded = 1 << 30

func (e *Engine) room(h *host) int {
	switch {
	case h.offline:
		return 0
	case h.Room == 0:
		return unbounded
	}
	free := h.Room - h.reserved
	for _, r := range e.runners {
		if r.host == h && !r.ended() {
			free--
		}
	}
	return max(0, free)
}

func (e *Engine) find(name string) *host {
	for _, h := range e.hosts {
		if h.Name == name {
			return h
		}
	}
	panic(fmt.Sprintf("memory: no host %q", name)) // a constant of the test
}
