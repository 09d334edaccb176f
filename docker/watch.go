package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/docker/docker/api/types/events"

	"github.com/slipway-ci/slipway/docker/internal/fault"
)

// changes are the events after which a listing may differ.
var changes = []events.Action{
	events.ActionCreate, events.ActionStart, events.ActionDie, events.ActionOOM,
	events.ActionDestroy, events.ActionRename,
}

// Watch implements backend.Watcher over the engine's events.
func (b *Backend) Watch(ctx context.Context, wake func()) error {
	return fmt.Errorf("watch runners: %w", b.watch(ctx, wake))
}

func (b *Backend) watch(ctx context.Context, wake func()) error {
	if err := b.ready(ctx); err != nil {
		return err
	}
	filter := b.runnerFilter()
	filter.Add("type", string(events.ContainerEventType))
	for _, action := range changes {
		filter.Add("event", string(action))
	}
	// The stream ends with ctx; without this it would stay when we return early.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Events returns when the engine has answered, or failed to: the hook tells
	// which. From its answer on nothing is missed.
	var answered atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotFirstResponseByte: func() { answered.Store(true) },
	})
	messages, errs := b.client.Events(traced, events.ListOptions{Filters: filter})
	if answered.Load() {
		wake()
	}
	var again echo
	defer again.stop()
	var begun <-chan time.Time
	for {
		select {
		case m := <-messages:
			switch {
			case m.Action != events.ActionCreate && m.Action != events.ActionStart:
				wake()
			case begun == nil:
				begun = time.After(beginnings)
			}
			if m.Action == events.ActionDie {
				again.begin()
			}
		case <-begun:
			begun = nil
			wake()
		case <-again.c:
			wake()
			again.next()
		case err := <-errs:
			return ended(ctx, err)
		}
	}
}

// beginnings is how long creations and starts are gathered before one wake tells of
// them all: who launches knows of its own by the answer, and a list after each would
// take the engine's time from the launches that follow.
const beginnings = 500 * time.Millisecond

// echoes are when to wake again after a container has ended: the engine tells of it
// before its own listings show it, which they do only when the container's network
// and file system were let go (moby, daemon/monitor.go: the checkpoint comes last).
// Nothing more is told then.
var echoes = []time.Duration{50 * time.Millisecond, 300 * time.Millisecond, 1500 * time.Millisecond, 5 * time.Second}

// echo is the wakes that are still to come.
type echo struct {
	c     <-chan time.Time
	timer *time.Timer
	step  int
}

func (e *echo) begin() { e.set(0) }

func (e *echo) next() { e.set(e.step + 1) }

func (e *echo) set(step int) {
	e.stop()
	e.step, e.c = step, nil
	if step < len(echoes) {
		e.timer = time.NewTimer(echoes[step])
		e.c = e.timer.C
	}
}

func (e *echo) stop() {
	if e.timer != nil {
		e.timer.Stop()
	}
}

// ended names the reason of a stream's end.
func ended(ctx context.Context, err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fault.Of(ctx, err)
}
