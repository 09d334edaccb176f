package engine

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/docker"
	"github.com/slipway-ci/slipway/tokens"
)

// Engine is a backend whose looks and launches are watched: it knows whether the engine
// can be seen, what is there, and how it went. Its methods may be called from many
// goroutines at once.
type Engine struct {
	backend.Backend
	changed func(problem string)

	facts  func(context.Context) (docker.Facts, error)
	folder func(docker.Facts) string // where images and runners lie; empty: not here
	purge  func(context.Context) error
	close  func() error

	running atomic.Int64 // launches under way

	mu      sync.Mutex
	looked  time.Time // when the last look ended
	problem string    // of the last look
	states  map[backend.State]int
	counts  map[string]uint64 // launches by outcome
}

func observe(b backend.Backend, changed func(problem string)) *Engine {
	return &Engine{Backend: b, changed: changed, looked: time.Now(), states: map[backend.State]int{}, counts: map[string]uint64{}}
}

// List lists, and notes what it saw.
func (e *Engine) List(ctx context.Context) (backend.Listing, error) {
	listing, err := e.Backend.List(ctx)
	if err != nil && ctx.Err() == context.Canceled {
		return listing, err // nobody looks any more
	}
	e.note(listing, err)
	return listing, err
}

func (e *Engine) note(listing backend.Listing, err error) {
	problem := ""
	if err != nil {
		problem = tokens.Redact(err.Error())
	}
	e.mu.Lock()
	before := e.problem
	e.looked, e.problem = time.Now(), problem
	if err == nil {
		clear(e.states)
		for _, r := range listing.Runners {
			e.states[r.State]++
		}
	}
	e.mu.Unlock()
	if (problem == "") != (before == "") {
		e.changed(problem)
	}
}

// Seen tells when the last look ended, what kept it from seeing anything, and how
// many runners are in each state.
func (e *Engine) Seen() (looked time.Time, problem string, states map[backend.State]int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	states = make(map[backend.State]int, len(e.states))
	for s, n := range e.states {
		states[s] = n
	}
	return e.looked, e.problem, states
}

// Launches tells how many there were by outcome.
func (e *Engine) Launches() map[string]uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make(map[string]uint64, len(e.counts))
	for k, n := range e.counts {
		out[k] = n
	}
	return out
}

// Launch launches, and counts how that went.
func (e *Engine) Launch(ctx context.Context, spec backend.Spec) error {
	e.running.Add(1)
	defer e.running.Add(-1)
	err := e.Backend.Launch(ctx, spec)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.counts[outcome(err)]++
	return err
}

// UnderWay is how many launches are.
func (e *Engine) UnderWay() int64 { return e.running.Load() }

// Watch implements backend.Watcher, as far as the backend does.
func (e *Engine) Watch(ctx context.Context, wake func()) error {
	return backend.Watch(ctx, e.Backend, wake)
}

// Prepare implements backend.Preparer, as far as the backend does.
func (e *Engine) Prepare(ctx context.Context, spec backend.Spec) error {
	return backend.Prepare(ctx, e.Backend, spec)
}

// Logs implements backend.Logger, as far as the backend does.
func (e *Engine) Logs(ctx context.Context, id string, tail int) (io.ReadCloser, error) {
	return backend.Logs(ctx, e.Backend, id, tail)
}

// outcome is how a launch ended, in a word.
func outcome(err error) string {
	switch {
	case err == nil, errors.Is(err, backend.ErrExists):
		return "started"
	case errors.Is(err, backend.ErrExhausted):
		return "exhausted"
	case errors.Is(err, backend.ErrInvalid):
		return "invalid"
	case errors.Is(err, backend.ErrUnavailable):
		return "unavailable"
	case errors.Is(err, backend.ErrRefused):
		return "refused"
	}
	return "uncertain"
}
