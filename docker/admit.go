package docker

import (
	"context"
	"fmt"
	"sync"

	"github.com/docker/docker/api/types/container"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/docker/internal/fault"
)

// admissions are the launches that Config.MaxRunners has let in and that have not
// ended yet: the engine may not tell of their containers.
type admissions struct {
	mu  sync.Mutex
	ids map[string]bool
}

// admit lets a launch in while there are fewer runners than Config.MaxRunners.
// The caller calls leave when the launch is over.
//
// It counts and notes in one step: whoever has left is in the list of everybody
// that comes in later.
func (b *Backend) admit(ctx context.Context, id string) (leave func(), err error) {
	if b.config.MaxRunners == 0 {
		return func() {}, nil
	}
	a := &b.admissions
	a.mu.Lock()
	defer a.mu.Unlock()
	listed, err := b.client.ContainerList(ctx, container.ListOptions{All: true, Filters: b.runnerFilter()})
	if err != nil {
		return nil, fmt.Errorf("count runners: %w", fault.Of(ctx, err))
	}
	live := map[string]bool{}
	for _, c := range listed {
		if one, ok := b.recognize(c); ok && holds(c.State) {
			live[one.runner.ID] = true
		}
	}
	for other := range a.ids {
		live[other] = true
	}
	delete(live, id)
	if len(live) >= b.config.MaxRunners {
		return nil, fault.As(backend.ErrExhausted, fmt.Errorf("%d runners live, and %d are allowed", len(live), b.config.MaxRunners))
	}
	if a.ids == nil {
		a.ids = map[string]bool{}
	}
	a.ids[id] = true
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.ids, id)
	}, nil
}

// holds says whether a container in that state takes up room.
func holds(state string) bool {
	return state == container.StateCreated || phaseOf(state) == phaseRuns
}
