package events_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/hub/events"
	"github.com/slipway-ci/slipway/provisioner"
)

// roster is a backend that lists what the test says.
type roster struct {
	backend.Backend
	mu      sync.Mutex
	runners []backend.Runner
	changed chan struct{}
	looks   int
}

func (r *roster) List(context.Context) (backend.Listing, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.looks++
	return backend.Listing{Runners: append([]backend.Runner{}, r.runners...)}, nil
}

func (r *roster) Watch(ctx context.Context, wake func()) error {
	for {
		select {
		case <-r.changed:
			wake()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (r *roster) set(list ...backend.Runner) {
	r.mu.Lock()
	r.runners = list
	r.mu.Unlock()
	r.changed <- struct{}{}
}

func runner(id string, state backend.State) backend.Runner {
	return backend.Runner{ID: id, State: state, Host: "a", Labels: map[string]string{provisioner.LabelTemplate: "linux"}}
}

func TestRunnersAreFollowed(t *testing.T) {
	w := newWorld(t, func(c *events.Config) { c.RunnerPace = 5 * time.Millisecond })
	b := &roster{changed: make(chan struct{}), runners: []backend.Runner{runner("old", backend.Running), runner("away", backend.Unknown)}}
	ctx, stop := context.WithCancel(t.Context())
	var ran sync.WaitGroup
	for _, part := range []func() error{func() error { return w.Run(ctx) }, func() error { return w.FollowRunners(ctx, b) }} {
		ran.Go(func() {
			if err := part(); err != nil {
				t.Error(err)
			}
		})
	}
	defer ran.Wait()
	defer stop()
	texts := func() (out []string) {
		for _, e := range w.after(0, events.Filter{}, 100).Events {
			out = append(out, e.Kind+" "+e.Object+": "+e.Text)
		}
		return out
	}
	looked := func() int {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.looks
	}
	require.Eventually(t, func() bool { return looked() > 0 }, 10*time.Second, time.Millisecond)
	failed := runner("new", backend.Failed)
	failed.ExitCode, failed.Error = new(int), "no such image"
	*failed.ExitCode = 137
	b.set(runner("old", backend.Unknown), runner("away", backend.Running), runner("new", backend.Starting))
	require.Eventually(t, func() bool { return len(texts()) == 1 }, 20*time.Second, 10*time.Millisecond)
	b.set(runner("old", backend.Running), runner("away", backend.Exited), failed)
	require.Eventually(t, func() bool { return len(texts()) == 3 }, 20*time.Second, 10*time.Millisecond)
	b.set(runner("old", backend.Running), runner("new", backend.Running))
	require.Eventually(t, func() bool { return len(texts()) == 5 }, 20*time.Second, 10*time.Millisecond)
	require.ElementsMatch(t, []string{
		"runner-started runner/new: started of scale set linux on a",
		"runner-exited runner/away: ended with exit code 0 of scale set linux on a",
		"runner-failed runner/new: failed with exit code 137 (no such image) of scale set linux on a",
		"runner-removed runner/away: removed of scale set linux on a",
		"runner-back runner/new: is there again of scale set linux on a",
	}, texts())
}
