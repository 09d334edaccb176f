package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http/httptrace"
	"sync/atomic"

	"github.com/docker/docker/api/types/events"
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
	for {
		select {
		case <-messages:
			wake()
		case err := <-errs:
			return ended(ctx, err)
		}
	}
}

// ended names the reason of a stream's end.
func ended(ctx context.Context, err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return failure(ctx, err)
}
