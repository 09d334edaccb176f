package jobs_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/queue/queuetest"
)

// What a job says of its runner must lead to that runner, also when the queue has
// forgotten it.
func TestAJobNamesItsRunnerAsTheFleetDoes(t *testing.T) {
	w := queuetest.New(t)
	p := w.Provisioner(queue.GenerationHead)
	job, claim := w.Running(p, "x", queue.JobSpec{}, true)
	named := func(why string) {
		t.Helper()
		now, err := w.Job(t.Context(), job.ID)
		require.NoError(t, err)
		require.Equal(t, "x", now.RunnerName, why)
		events, err := w.JobEvents(t.Context(), job.ID, 0)
		require.NoError(t, err)
		require.Equal(t, "x", events[len(events)-1].Runner, why)
	}
	named("while it runs")
	require.NoError(t, w.Finish(t.Context(), claim.LeaseToken, queue.Result{Outcome: queue.OutcomeSucceeded}))
	_, _, err := w.Report(t.Context(), p, []queue.RunnerEvent{{ProviderID: "x", State: queue.RunnerStopped, At: time.Now()}})
	require.NoError(t, err)
	named("when it has ended")
	w.Exec(`DELETE FROM runners WHERE provider_runner_id = 'x'`)
	named("when its runner is forgotten")
	waiting := w.Add("b")
	now, err := w.Job(t.Context(), waiting.ID)
	require.NoError(t, err)
	require.Empty(t, now.RunnerName)
}
