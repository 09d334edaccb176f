package agent

import (
	"context"
	"errors"
	"sync"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/internal/wire"
)

var errUnsupported = errors.ErrUnsupported

func isUnavailable(err error) bool { return errors.Is(err, backend.ErrUnavailable) }

// work is what is under way: it bounds, orders and cancels it.
type work struct {
	mu       sync.Mutex
	count    map[wire.Type]int
	requests map[request]context.CancelFunc
	runners  map[string]*queue
	ending   map[string]bool // past their lifetime, being removed
}

type request struct {
	session *session
	id      uint64
}

// queue lets one deed at a time at a runner.
type queue struct {
	turn     chan struct{} // holds one when it is free
	users    int
	launches map[*ticket]context.CancelFunc
}

// ticket is a place in a runner's queue.
type ticket struct {
	work   *work
	queue  *queue
	runner string
	turn   bool
}

func newWork() *work {
	return &work{count: map[wire.Type]int{}, requests: map[request]context.CancelFunc{}, runners: map[string]*queue{}, ending: map[string]bool{}}
}

func (w *work) begin(kind wire.Type) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.count[kind] >= bounds[kind] {
		return false
	}
	w.count[kind]++
	return true
}

func (w *work) started(s *session, id uint64, cancel context.CancelFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.requests[request{s, id}] = cancel
}

func (w *work) ended(s *session, f wire.Frame) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.count[f.Type]--
	delete(w.requests, request{s, f.ID})
}

// cancel ends a request that nobody waits for any more.
func (w *work) cancel(s *session, id uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if cancel, ok := w.requests[request{s, id}]; ok {
		cancel()
	}
}

// join gives a launch its place, with what cuts it off.
func (w *work) join(runner string, cancel context.CancelFunc) *ticket {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.ticket(runner)
	t.queue.launches[t] = cancel
	return t
}

// cutOff ends the launches that have a place, and gives one behind them.
func (w *work) cutOff(runner string) *ticket {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.ticket(runner)
	for _, cancel := range t.queue.launches {
		cancel()
	}
	return t
}

func (w *work) ticket(runner string) *ticket {
	q := w.runners[runner]
	if q == nil {
		q = &queue{turn: make(chan struct{}, 1), launches: map[*ticket]context.CancelFunc{}}
		q.turn <- struct{}{}
		w.runners[runner] = q
	}
	q.users++
	return &ticket{work: w, queue: q, runner: runner}
}

// wait waits for the runner's turn. The order is open, but one that was cut off
// before its turn came gets none.
func (t *ticket) wait(ctx context.Context) error {
	select {
	case <-t.queue.turn:
		t.turn = true
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// leave gives the place up.
func (t *ticket) leave() {
	t.work.mu.Lock()
	defer t.work.mu.Unlock()
	q := t.queue
	delete(q.launches, t)
	if t.turn {
		q.turn <- struct{}{}
	}
	if q.users--; q.users == 0 {
		delete(t.work.runners, t.runner)
	}
}

func (w *work) claimEnding(id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ending[id] {
		return false
	}
	w.ending[id] = true
	return true
}

func (w *work) releaseEnding(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.ending, id)
}
