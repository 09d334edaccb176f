package dispatch_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/queue/queuetest"
)

const reasonDrain = "drain-deadline"

func unwanted(w *queuetest.World, ids ...string) {
	w.T.Helper()
	require.NoError(w.T, w.Unwant(w.T.Context(), ids, reasonDrain))
}

// A runner that is told to end says that it was stopped; who had it stopped is known here.
func TestTheJobOfAnUnwantedRunnerSaysWhyItEnded(t *testing.T) {
	for name, test := range map[string]struct {
		result queue.Result
		reason string
	}{
		"stopped":                {queue.Result{Outcome: queue.OutcomeCancelled, Reason: "runner-stopped"}, reasonDrain},
		"done just before":       {queue.Result{Outcome: queue.OutcomeSucceeded}, ""},
		"failed by its own":      {queue.Result{Outcome: queue.OutcomeFailed, Reason: "no such image"}, "no such image"},
		"past its own time left": {queue.Result{Outcome: queue.OutcomeTimedOut, Reason: "timeout"}, "timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			w := queuetest.New(t)
			p := w.Provisioner(queue.GenerationHead)
			job, claim := w.Running(p, "x", queue.JobSpec{}, true)
			unwanted(w, "x", "unknown")
			unwanted(w, "x")
			answer := w.Look(p, 0, "a")
			require.Len(t, answer.Terminate, 1, "it is told until it is done")
			require.Equal(t, "x", answer.Terminate[0].Runner)
			require.Equal(t, reasonDrain, answer.Terminate[0].Reason)
			require.Equal(t, queue.StateRunning, w.StateOf(job), "it has until its runner ends")
			require.NoError(t, w.Finish(t.Context(), claim.LeaseToken, test.result))
			require.Equal(t, queue.State(test.result.Outcome), w.StateOf(job))
			require.Equal(t, test.reason, w.ReasonOf(job))
		})
	}
}

func TestACancelledJobSaysSoWhateverBecomesOfItsRunner(t *testing.T) {
	w := queuetest.New(t)
	job, claim := w.Running(w.Provisioner(queue.GenerationHead), "x", queue.JobSpec{}, true)
	unwanted(w, "x")
	w.Cancelled(job)
	require.NoError(t, w.Finish(t.Context(), claim.LeaseToken, queue.Result{Outcome: queue.OutcomeCancelled, Reason: "cancelled"}))
	require.Equal(t, "cancelled", w.ReasonOf(job))
}

// A runner that is killed before it can say anything takes its job with it at once.
func TestTheJobOfAnUnwantedRunnerIsOverWithIt(t *testing.T) {
	w := queuetest.New(t)
	p := w.Provisioner(queue.GenerationHead)
	job, claim := w.Running(p, "x", queue.JobSpec{Retries: 2}, true)
	other, _ := w.Running(p, "y", queue.JobSpec{}, true)
	unwanted(w, "x")
	for _, id := range []string{"x", "y"} {
		_, _, err := w.Report(t.Context(), p, []queue.RunnerEvent{{ProviderID: id, State: queue.RunnerTerminated, Reason: reasonDrain, At: time.Now()}})
		require.NoError(t, err)
	}
	require.Equal(t, queue.StateCancelled, w.StateOf(job))
	require.Equal(t, reasonDrain, w.ReasonOf(job))
	require.Equal(t, queue.StateRunning, w.StateOf(other), "one that nobody wanted to end hangs on its lease")
	w.Refused(claim)
}

func TestAnUnwantedRunnerGetsNoJob(t *testing.T) {
	w := queuetest.New(t)
	p := w.Provisioner(queue.GenerationHead)
	job := w.Add("a")
	_, _, activation := w.Enrolled(p, w.Look(p, 1, "a").Reservations[0].ID, "x", "a")
	session, err := w.Register(t.Context(), activation.Reveal(), []string{"a"})
	require.NoError(t, err)
	unwanted(w, "x")
	_, _, err = w.Claim(t.Context(), session.Token, true)
	require.ErrorIs(t, err, queue.ErrSessionExhausted)
	_, _, err = w.Report(t.Context(), p, []queue.RunnerEvent{{ProviderID: "x", State: queue.RunnerTerminated, At: time.Now()}})
	require.NoError(t, err)
	require.Equal(t, queue.StateQueued, w.StateOf(job), "its job is for another")
	unwanted(w, "x")
	require.Empty(t, w.Look(p, 0, "a").Terminate, "what has ended needs no end")
}
