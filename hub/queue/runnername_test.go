package queue

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What a job says of its runner must lead to that runner, also when the queue has
// forgotten it.
func TestAJobNamesItsRunnerAsTheFleetDoes(t *testing.T) {
	w := newWorld(t)
	p := w.provisioner(GenerationHead)
	job, claim := w.running(p, "x", JobSpec{}, true)
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
	require.NoError(t, w.Finish(t.Context(), claim.LeaseToken, Result{Outcome: OutcomeSucceeded}))
	_, _, err := w.Report(t.Context(), p, []RunnerEvent{{ProviderID: "x", State: RunnerStopped, At: time.Now()}})
	require.NoError(t, err)
	named("when it has ended")
	require.NoError(t, w.write(t.Context(), func(tx *tx) error {
		n, err := tx.Exec(`DELETE FROM runners WHERE provider_runner_id = 'x'`)
		require.Equal(t, int64(1), n)
		return err
	}))
	named("when its runner is forgotten")
	waiting := w.submit("b")
	now, err := w.Job(t.Context(), waiting.ID)
	require.NoError(t, err)
	require.Empty(t, now.RunnerName)
}
