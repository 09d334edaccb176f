package docker

import (
	"context"
	"sync"
	"time"
)

// closeGrace is how long Close lets launches whose callers went away undo what
// they began.
const closeGrace = 10 * time.Second

// work is what outlives the call that began it: pulls, and launches whose caller
// gave up waiting.
type work struct {
	running sync.WaitGroup
	mu      sync.Mutex // guards closed, so that nothing begins while close waits
	closed  bool
	closing chan struct{}
}

// begin runs f in the background, with ctx's values but not its end. Only close
// ends f's ctx, grace after it was called.
func (w *work) begin(ctx context.Context, grace time.Duration, f func(context.Context)) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return ErrClosed
	}
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	w.running.Go(func() {
		defer cancel()
		f(own)
	})
	w.running.Go(func() {
		select {
		case <-own.Done():
			return
		case <-w.closing:
		}
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-own.Done():
		case <-timer.C:
			cancel()
		}
	})
	return nil
}

// close ends what is still running, and waits for it.
func (w *work) close() {
	w.mu.Lock()
	if !w.closed {
		w.closed = true
		close(w.closing)
	}
	w.mu.Unlock()
	w.running.Wait()
}

// idLocks lets one deed at a time work on one id. Unlike a mutex it lets a
// waiter give up.
type idLocks struct {
	mu   sync.Mutex
	held map[string]chan struct{}
}

// lock waits for the id to be free. The caller calls unlock, once.
func (l *idLocks) lock(ctx context.Context, id string) (unlock func(), err error) {
	for {
		busy, taken := l.try(id)
		if !taken {
			return func() { l.unlock(id) }, nil
		}
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (l *idLocks) try(id string) (busy chan struct{}, taken bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if busy, taken = l.held[id]; taken {
		return busy, true
	}
	if l.held == nil {
		l.held = map[string]chan struct{}{}
	}
	l.held[id] = make(chan struct{})
	return nil, false
}

func (l *idLocks) unlock(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.held[id])
	delete(l.held, id)
}
