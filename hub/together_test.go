package hub_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend/memory"
	"github.com/slipway-ci/slipway/hub"
	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/queue/plane"
	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/template"
)

// A program as in the example, which is stopped in the middle of a launch, ends
// with it, and what the loop has to report of it is taken.
func TestAProgramOfHubAndLoopStopsAtOnce(t *testing.T) {
	c := config(t)
	h, err := hub.Open(t.Context(), c)
	require.NoError(t, err)
	p, err := plane.New(t.Context(), h.Queue(), plane.Config{RunnerURL: h.RunnerURL()})
	require.NoError(t, err)
	owner, err := p.Identify(t.Context())
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	engine := memory.New(memory.Config{Fault: func(call memory.Call) memory.Fault {
		if call.Op != memory.OpLaunch {
			return memory.Fault{}
		}
		stop()
		return memory.Fault{After: 300 * time.Millisecond}
	}})
	loop, err := provisioner.New(provisioner.Config{
		ControlPlane: p, Backend: engine.Backend(owner.ID), DrainTimeout: 20 * time.Second,
		Templates: []template.Template{{Key: "small", Labels: []string{"linux"}, CPU: 1, Memory: 1 << 30, MaxConcurrency: 4}},
	})
	require.NoError(t, err)
	job, err := h.Queue().Submit(t.Context(), queue.JobSpec{Labels: []string{"linux"}, Run: "true"})
	require.NoError(t, err)
	began := time.Now()
	require.NoError(t, together(ctx, h, loop))
	require.Less(t, time.Since(began), 15*time.Second, "the loop could not report, and tried for as long as it may")
	again, err := hub.Open(t.Context(), c)
	require.NoError(t, err)
	defer func() { _ = again.Close() }()
	told, err := again.Queue().Job(t.Context(), job.ID)
	require.NoError(t, err)
	require.Equal(t, queue.StateLaunched, told.State)
}
