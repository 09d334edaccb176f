package fleet

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/internal/wire"
)

var (
	_ backend.Watcher = (*Fleet)(nil)
	_ backend.Sizer   = (*Fleet)(nil)
)

// List is backend.Backend's, from memory.
func (f *Fleet) List(ctx context.Context) (backend.Listing, error) {
	if err := ctx.Err(); err != nil {
		return backend.Listing{}, fmt.Errorf("list: %w", err)
	}
	f.mu.Lock()
	defer f.unlock()
	if !f.open {
		return backend.Listing{}, fmt.Errorf("list: the fleet is not running: %w", backend.ErrUnavailable)
	}
	now := time.Now()
	listing := backend.Listing{Began: now}
	for _, id := range slices.Sorted(maps.Keys(f.runners)) {
		r := f.runners[id]
		switch {
		case r.known():
			listing.Runners = append(listing.Runners, r.tell(r.host.ready && r.seen != nil, f.lost(r.host, now)))
		case r.forgotten(now):
			f.drop(r)
		}
	}
	return listing, nil
}

// Watch is backend.Watcher's.
func (f *Fleet) Watch(ctx context.Context, wake func()) error {
	for {
		f.mu.Lock()
		changed := f.changed
		f.unlock()
		if ctx.Err() == nil {
			wake()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Capacity is backend.Sizer's: the sum over the hosts that may take such a
// runner now.
func (f *Fleet) Capacity(ctx context.Context, specs []backend.Spec) ([]int, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("capacity: %w", err)
	}
	kinds := make([]string, len(specs))
	for i, spec := range specs {
		sent, err := wire.FromSpec(spec)
		if err == nil { // one that can't be sent has no room
			kinds[i] = kindOf(sent)
		}
	}
	f.mu.Lock()
	defer f.unlock()
	now, room := time.Now(), make([]int, len(specs))
	for _, h := range f.hosts {
		free := h.room()
		for i, kind := range kinds {
			if kind != "" && h.obstacle(kind, now) == "" {
				room[i] += free
			}
		}
	}
	return room, nil
}
