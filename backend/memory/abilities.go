package memory

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/backend"
)

var (
	_ backend.Watcher  = (*Backend)(nil)
	_ backend.Sizer    = (*Backend)(nil)
	_ backend.Preparer = (*Backend)(nil)
	_ backend.Logger   = (*Backend)(nil)
)

// Watch is backend.Watcher's. It wakes at every change of the engine, of other
// owners' runners too, and returns when a nameless host goes offline.
func (b *Backend) Watch(ctx context.Context, wake func()) error {
	e := b.engine
	return e.run(ctx, Call{Op: OpWatch, Owner: b.owner}, func(Fault) error {
		for {
			changed, turns, err := e.next()
			if err != nil {
				return err
			}
			wake()
			if err := sleep(ctx, changed, turns); err != nil {
				return err
			}
		}
	})
}

// next returns what to wait for: a change, or the moment at which the next one
// comes by itself (zero: none).
func (e *Engine) next() (changed <-chan struct{}, turns time.Time, err error) {
	now := e.lock()
	defer e.mu.Unlock()
	if h := e.hosts[0]; h.Name == "" && h.offline {
		return nil, time.Time{}, backend.ErrUnavailable
	}
	return e.changed, e.turns(now), nil
}

func (e *Engine) turns(now time.Time) time.Time {
	var turns time.Time
	for _, r := range e.runners {
		turns = earlier(turns, r.turns(now))
	}
	for _, l := range e.late {
		turns = earlier(turns, l.at)
	}
	return turns
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func sleep(ctx context.Context, changed <-chan struct{}, until time.Time) error {
	var alarm <-chan time.Time
	if !until.IsZero() {
		timer := time.NewTimer(time.Until(until))
		defer timer.Stop()
		alarm = timer.C
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-changed:
	case <-alarm:
	}
	return nil
}

// Capacity is backend.Sizer's. An engine whose only host has no bound does not
// have the ability.
func (b *Backend) Capacity(ctx context.Context, specs []backend.Spec) ([]int, error) {
	e := b.engine
	room := make([]int, len(specs))
	err := e.run(ctx, Call{Op: OpCapacity, Owner: b.owner}, func(Fault) error {
		e.lock()
		defer e.mu.Unlock()
		if len(e.hosts) == 1 && e.hosts[0].Room == 0 && e.hosts[0].Name == "" {
			return errors.ErrUnsupported
		}
		free := 0
		for _, h := range e.hosts {
			free = min(unbounded, free+e.room(h))
		}
		for i := range room {
			room[i] = free
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return room, nil
}

// Prepare is backend.Preparer's.
func (b *Backend) Prepare(ctx context.Context, spec backend.Spec) error {
	return b.engine.run(ctx, Call{Op: OpPrepare, Owner: b.owner}, func(Fault) error {
		return b.engine.fetch(ctx, spec.Image)
	})
}

// fetch waits until the image is there. The first who asks sets the time at
// which it will be, so that one fetch serves all.
func (e *Engine) fetch(ctx context.Context, image string) error {
	if e.config.Pull == nil {
		return ctx.Err()
	}
	e.mu.Lock()
	there, ok := e.images[image]
	if !ok {
		takes, err := e.config.Pull(image)
		if err != nil {
			e.mu.Unlock()
			return fmt.Errorf("pull %s: %w", image, err)
		}
		there = time.Now().Add(takes)
		e.images[image] = there
	}
	e.mu.Unlock()
	return wait(ctx, time.Until(there))
}

// Logs is backend.Logger's.
func (b *Backend) Logs(ctx context.Context, id string, tail int) (io.ReadCloser, error) {
	e := b.engine
	var lines []string
	call := Call{Op: OpLogs, Owner: b.owner, ID: id, Host: e.hostOf(id)}
	err := e.run(ctx, call, func(Fault) error {
		now := e.lock()
		defer e.mu.Unlock()
		r := e.runners[id]
		switch {
		case r == nil || r.owner != b.owner:
			return fs.ErrNotExist
		case r.host.offline:
			return backend.ErrUnavailable
		case r.state(now) != backend.Starting:
			lines = r.program.Output
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if tail > 0 && len(lines) > tail {
		lines = lines[len(lines)-tail:]
	}
	text := strings.Join(lines, "\n")
	if text != "" {
		text += "\n"
	}
	return io.NopCloser(strings.NewReader(text)), nil
}
