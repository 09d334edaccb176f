package fleet

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/hub/fleet/placement"
	"github.com/slipway-ci/slipway/hub/fleet/sight"
	"github.com/slipway-ci/slipway/internal/wire"
)

var (
	_ backend.Watcher = (*Fleet)(nil)
	_ backend.Sizer   = (*Fleet)(nil)
)

// List is backend.Backend's, from memory.
func (f *Fleet) List(ctx context.Context) (backend.Listing, error) {
	return f.list(ctx, func(*record) bool { return true })
}

// list tells the runners that are wanted. Under the lock it only notes what they
// are: nothing that a sight points to ever changes.
func (f *Fleet) list(ctx context.Context, wanted func(*record) bool) (backend.Listing, error) {
	if err := ctx.Err(); err != nil {
		return backend.Listing{}, fmt.Errorf("list: %w", err)
	}
	now := time.Now()
	sights, err := f.sights(now, wanted)
	if err != nil {
		return backend.Listing{}, err
	}
	listing := backend.Listing{Began: now, Runners: make([]backend.Runner, len(sights))}
	for i := range sights {
		listing.Runners[i] = sights[i].Tell()
	}
	return listing, nil
}

func (f *Fleet) sights(now time.Time, wanted func(*record) bool) ([]sight.Sight, error) {
	f.mu.Lock()
	defer f.unlock()
	if !f.open {
		return nil, fmt.Errorf("list: the fleet is not running: %w", backend.ErrUnavailable)
	}
	sights := make([]sight.Sight, 0, len(f.runners))
	var forgotten []*record
	for _, r := range f.listed() {
		switch {
		case r.known():
			if wanted(r) {
				sights = append(sights, r.sight(f.lost(r.host, now)))
			}
		case r.forgotten(now):
			forgotten = append(forgotten, r)
		}
	}
	for _, r := range forgotten {
		f.drop(r)
	}
	return sights, nil
}

// listed are the records in the order of their ids. New ids are mostly the
// greatest, so that there is seldom anything to sort. The lock is held.
func (f *Fleet) listed() []*record {
	if f.dropped > 0 {
		f.all = slices.DeleteFunc(f.all, func(r *record) bool { return r.dropped })
		f.dropped = 0
	}
	if !f.sorted {
		slices.SortFunc(f.all, func(a, b *record) int { return strings.Compare(a.id, b.id) })
		f.sorted = true
	}
	return f.all
}

func (r *record) sight(lost bool) sight.Sight {
	return sight.Sight{
		ID: r.id, Host: r.host.name(), Labels: r.labels, Seen: r.seen, Created: r.created, Observed: r.host.ready && r.seen != nil, Lost: lost,
	}
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

// Capacity is backend.Sizer's: the sum over the hosts that may take such a runner
// now, by the rules that a launch goes by. A spec's template is that of its labels.
func (f *Fleet) Capacity(ctx context.Context, specs []backend.Spec) ([]int, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("capacity: %w", err)
	}
	sent := make([]*wire.Spec, len(specs))
	for i, spec := range specs {
		if s, err := wire.FromSpec(spec); err == nil { // one that can't be sent has no room
			sent[i] = s
		}
	}
	f.mu.Lock()
	defer f.unlock()
	now, room := time.Now(), make([]int, len(specs))
	asks := make([]*placement.Ask, len(specs))
	for i, s := range sent {
		if s != nil {
			asks[i] = f.ask(s)
		}
	}
	for h := range f.looks {
		if h.Closed() {
			continue // for whatever is asked
		}
		for i, a := range asks {
			if a != nil {
				n, _ := f.placer.Judge(h, a, now)
				room[i] += n
			}
		}
	}
	return room, nil
}
