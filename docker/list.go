package docker

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"golang.org/x/sync/errgroup"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/docker/internal/fault"
)

// inspectors is how many containers are looked at side by side.
const inspectors = 8

// List implements backend.Backend. It is one request, and one more for each
// runner that began or ended to run since the last one (two for one that was killed
// and may have run out of memory).
func (b *Backend) List(ctx context.Context) (backend.Listing, error) {
	listing, err := b.list(ctx)
	if err != nil {
		return backend.Listing{}, fmt.Errorf("list runners: %w", err)
	}
	return listing, nil
}

func (b *Backend) list(ctx context.Context) (backend.Listing, error) {
	if err := b.ready(ctx); err != nil {
		return backend.Listing{}, err
	}
	began := time.Now()
	summaries, err := b.client.ContainerList(ctx, container.ListOptions{All: true, Filters: b.runnerFilter()})
	if err != nil {
		return backend.Listing{}, fault.Of(ctx, err)
	}
	var ours []seen
	for _, s := range summaries {
		if one, ok := b.recognize(s); ok {
			ours = append(ours, one)
		}
	}
	if err := b.inspectNew(ctx, ours); err != nil {
		return backend.Listing{}, err
	}
	listing := backend.Listing{Began: began}
	for _, one := range ours {
		if one.gone {
			continue
		}
		if one.runner.State == backend.Running && b.stopping.has(one.runner.ID) {
			one.runner.State = backend.Stopping
		}
		listing.Runners = append(listing.Runners, one.runner)
	}
	slices.SortFunc(listing.Runners, func(x, y backend.Runner) int { return strings.Compare(x.ID, y.ID) })
	return listing, nil
}

// seen is one container of a list on its way to a Runner.
type seen struct {
	container string // the engine's id
	state     string // the engine's word
	runner    backend.Runner
	gone      bool // removed since the list was made
}

// recognize says whether a container is a runner of ours: owner, id, name and
// labels are all in the form that Launch writes. The engine's filter is no proof.
func (b *Backend) recognize(s container.Summary) (seen, bool) {
	id, labels, ok := b.decode(s.Labels)
	if !ok || !canonical(id) || !slices.Contains(s.Names, "/"+b.name(id)) {
		return seen{}, false
	}
	return seen{
		container: s.ID, state: s.State,
		runner: backend.Runner{ID: id, Labels: labels, State: backend.Starting, Created: time.Unix(s.Created, 0).UTC()},
	}, true
}

// inspectNew fills in what a list does not tell, from the last look where
// nothing can have changed since.
func (b *Backend) inspectNew(ctx context.Context, ours []seen) error {
	known := b.details.recall(ours)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(inspectors)
	for i := range ours {
		one := &ours[i]
		if one.state == container.StateCreated {
			continue
		}
		if d, ok := known[one.container]; ok && d.phase == phaseOf(one.state) {
			d.fill(&one.runner)
			continue
		}
		if phaseOf(one.state) == phaseRuns && b.launches.Load() > 0 && b.details.mayWait(one.container, time.Now()) {
			one.runner.State = backend.Running
			continue
		}
		group.Go(func() error {
			d, err := b.inspect(ctx, one.container)
			if cerrdefs.IsNotFound(err) {
				one.gone = true
				return nil
			}
			if err != nil {
				return fmt.Errorf("inspect runner %s: %w", one.runner.ID, fault.Of(ctx, err))
			}
			d.fill(&one.runner)
			b.details.keep(one.container, d)
			return nil
		})
	}
	return group.Wait()
}

func (b *Backend) inspect(ctx context.Context, id string) (detail, error) {
	c, err := b.client.ContainerInspect(ctx, id)
	if err != nil {
		return detail{}, err
	}
	d := detailOf(c)
	d.oomKilled, err = b.starved(ctx, c, d)
	return d, err
}

// lookPatience is for how long a runner that runs is not looked at while launches
// are under way. A look would tell when it began, which nobody waits for, and take
// the engine's time from the launches.
const lookPatience = 10 * time.Second

// details remembers what inspecting told. All of it may be lost.
type details struct {
	mu      sync.Mutex
	known   map[string]detail    // by the engine's id
	waiting map[string]time.Time // since when it has not been looked at
}

// mayWait says whether the look at a runner that runs can come later.
func (d *details) mayWait(id string, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	since, ok := d.waiting[id]
	if !ok {
		if d.waiting == nil {
			d.waiting = map[string]time.Time{}
		}
		since = now
		d.waiting[id] = now
	}
	return now.Sub(since) < lookPatience
}

// recall returns what is known, and forgets those that are not listed any more.
func (d *details) recall(ours []seen) map[string]detail {
	d.mu.Lock()
	defer d.mu.Unlock()
	kept, waiting := make(map[string]detail, len(ours)), map[string]time.Time{}
	for _, one := range ours {
		if known, ok := d.known[one.container]; ok {
			kept[one.container] = known
		} else if since, ok := d.waiting[one.container]; ok {
			waiting[one.container] = since
		}
	}
	d.known, d.waiting = kept, waiting
	// A copy: keep writes into the other.
	out := make(map[string]detail, len(kept))
	for id, known := range kept {
		out[id] = known
	}
	return out
}

func (d *details) keep(id string, known detail) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.known == nil {
		d.known = map[string]detail{}
	}
	d.known[id] = known
}
