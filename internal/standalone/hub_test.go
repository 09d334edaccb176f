package standalone

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/memory"
	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/internal/standalone/foxtest"
	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/provisioner/shipfox"
	"github.com/slipway-ci/slipway/template"
)

// The whole way of jobs, in each generation of the API: queued, granted, minted,
// launched, taken by runners that speak the API, done, reported and cleared away.
func TestJobsGoTheWholeWay(t *testing.T) {
	for _, generation := range []string{"head", "ert", "pr"} {
		t.Run(generation, func(t *testing.T) {
			t.Parallel()
			world := foxtest.New(t, generation)
			control, err := shipfox.New(shipfox.Config{URL: world.Hub.URL(), Token: world.Token})
			require.NoError(t, err)
			identity, err := control.Identify(t.Context())
			require.NoError(t, err)
			site := newSite(t)
			loop, err := provisioner.New(provisioner.Config{
				ControlPlane: control, Backend: site.engine.Backend(identity.ID),
				Templates: []template.Template{
					{Key: "small", Labels: []string{"linux", "small"}, CPU: 1, MaxConcurrency: 4},
					{Key: "big", Labels: []string{"big", "linux"}, CPU: 4, MaxConcurrency: 2},
				},
				Limits: provisioner.Limits{PollWait: 2 * time.Second, FactsInterval: time.Second},
			})
			require.NoError(t, err)
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- loop.Run(ctx) }()

			jobs := len(world.Submit(t, 6, "true", "small")) + len(world.Submit(t, 3, "true", "big")) + len(world.Submit(t, 3, "true", "linux"))
			require.Eventually(t, func() bool {
				return world.Count(t)[queue.StateSucceeded] == jobs
			}, patience, 50*time.Millisecond, "jobs wait: %v", world.Count(t))
			require.Eventually(t, func() bool {
				return len(site.engine.Truth()) == 0
			}, patience, 50*time.Millisecond, "runners are left")
			require.True(t, loop.Health().Ready(), loop.Health())
			stop()
			require.NoError(t, <-ended)
			site.check(t, map[string]int{"small": 4, "big": 2})
		})
	}
}

// site is an engine in memory, whose runners take a job each.
type site struct {
	engine *memory.Engine

	mu         sync.Mutex
	live, most map[string]int // by template
	started    chan backend.Spec
	errs       []error
}

func newSite(t *testing.T) *site {
	s := &site{live: map[string]int{}, most: map[string]int{}, started: make(chan backend.Spec, 1000)}
	s.engine = memory.New(memory.Config{Observe: s.observe})
	ctx, stop := context.WithCancel(context.Background())
	var runners sync.WaitGroup
	runners.Go(func() {
		for {
			select {
			case spec := <-s.started:
				runners.Go(func() { s.run(ctx, spec) })
			case <-ctx.Done():
				return
			}
		}
	})
	t.Cleanup(func() {
		stop()
		runners.Wait()
	})
	return s
}

func (s *site) observe(e memory.Event) {
	key := e.Spec.Labels[provisioner.LabelTemplate]
	s.mu.Lock()
	defer s.mu.Unlock()
	switch e.Kind {
	case memory.Launched:
		s.live[key]++
		s.most[key] = max(s.most[key], s.live[key])
		s.started <- e.Spec
	case memory.Ended:
		s.live[key]--
	}
}

// run is one runner.
func (s *site) run(ctx context.Context, spec backend.Spec) {
	code := 0
	if err := work(ctx, spec.Env); err != nil {
		code = 1
		s.mu.Lock()
		s.errs = append(s.errs, err)
		s.mu.Unlock()
	}
	s.engine.Exit(spec.ID, code)
}

// work is what a runner with the environment does: it takes its job and ends.
func work(ctx context.Context, env map[string]string) error {
	r, err := foxtest.Introduce(ctx, env)
	if err != nil {
		return err
	}
	for range 20 {
		lease, err := r.Take(ctx)
		if err != nil {
			return err
		}
		if lease != nil {
			return lease.Finish(ctx, 0)
		}
	}
	return nil
}

func (s *site) check(t *testing.T, bounds map[string]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	require.Empty(t, s.errs, "each registration is good for its runner")
	for key, bound := range bounds {
		require.LessOrEqual(t, s.most[key], bound, "max_concurrency of %s", key)
	}
}

// take introduces a runner and takes its job, and leaves it running.
func take(ctx context.Context, env map[string]string) error {
	r, err := foxtest.Introduce(ctx, env)
	if err != nil {
		return err
	}
	lease, err := r.Take(ctx)
	if err == nil && lease == nil {
		err = errors.New("no job")
	}
	return err
}

// cancelJobs ends all jobs that are not done.
func (d *dock) cancelJobs(t testing.TB) {
	jobs, _, err := d.world.Hub.Queue().Jobs(d.ctx(), queue.JobFilter{States: []queue.State{queue.StateQueued, queue.StateReserved, queue.StateLaunched, queue.StateRunning}, Limit: 500})
	require.NoError(t, err)
	for _, job := range jobs {
		_, _ = d.world.Hub.Queue().Cancel(d.ctx(), job.ID)
	}
}
