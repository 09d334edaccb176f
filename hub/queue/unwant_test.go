package queue

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const reasonDrain = "drain-deadline"

func (w *world) unwanted(ids ...string) {
	w.t.Helper()
	require.NoError(w.t, w.Unwant(w.t.Context(), ids, reasonDrain))
}

// A runner that is told to end says that it was stopped; who had it stopped is known here.
func TestTheJobOfAnUnwantedRunnerSaysWhyItEnded(t *testing.T) {
	for name, test := range map[string]struct {
		result Result
		reason string
	}{
		"stopped":                {Result{Outcome: OutcomeCancelled, Reason: "runner-stopped"}, reasonDrain},
		"done just before":       {Result{Outcome: OutcomeSucceeded}, ""},
		"failed by its own":      {Result{Outcome: OutcomeFailed, Reason: "no such image"}, "no such image"},
		"past its own time left": {Result{Outcome: OutcomeTimedOut, Reason: "timeout"}, "timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			p := w.provisioner(GenerationHead)
			job, claim := w.running(p, "x", JobSpec{}, true)
			w.unwanted("x", "unknown")
			w.unwanted("x")
			answer := w.poll(p, 0, "a")
			require.Equal(t, []Intent{{id: answer.Terminate[0].id, Runner: "x", Reason: reasonDrain}}, answer.Terminate, "it is told until it is done")
			require.Equal(t, StateRunning, w.state(job), "it has until its runner ends")
			require.NoError(t, w.Finish(t.Context(), claim.LeaseToken, test.result))
			require.Equal(t, outcomeStates[test.result.Outcome], w.state(job))
			require.Equal(t, test.reason, w.reason(job))
		})
	}
}

func TestACancelledJobSaysSoWhateverBecomesOfItsRunner(t *testing.T) {
	w := newWorld(t)
	job, claim := w.running(w.provisioner(GenerationHead), "x", JobSpec{}, true)
	w.unwanted("x")
	w.cancelled(job)
	require.NoError(t, w.Finish(t.Context(), claim.LeaseToken, Result{Outcome: OutcomeCancelled, Reason: "cancelled"}))
	require.Equal(t, "cancelled", w.reason(job))
}

// A runner that is killed before it can say anything takes its job with it at once.
func TestTheJobOfAnUnwantedRunnerIsOverWithIt(t *testing.T) {
	w := newWorld(t)
	p := w.provisioner(GenerationHead)
	job, claim := w.running(p, "x", JobSpec{Retries: 2}, true)
	other, _ := w.running(p, "y", JobSpec{}, true)
	w.unwanted("x")
	for _, id := range []string{"x", "y"} {
		_, _, err := w.Report(t.Context(), p, []RunnerEvent{{ProviderID: id, State: RunnerTerminated, Reason: reasonDrain, At: time.Now()}})
		require.NoError(t, err)
	}
	require.Equal(t, StateCancelled, w.state(job))
	require.Equal(t, reasonDrain, w.reason(job))
	require.Equal(t, StateRunning, w.state(other), "one that nobody wanted to end hangs on its lease")
	w.refused(claim)
}

func TestAnUnwantedRunnerGetsNoJob(t *testing.T) {
	w := newWorld(t)
	p := w.provisioner(GenerationHead)
	job := w.submit("a")
	_, _, activation := w.enrolled(p, w.poll(p, 1, "a").Reservations[0].ID, "x", "a")
	session, err := w.Register(t.Context(), activation.Reveal(), []string{"a"})
	require.NoError(t, err)
	w.unwanted("x")
	_, _, err = w.Claim(t.Context(), session.Token, true)
	require.ErrorIs(t, err, ErrSessionExhausted)
	_, _, err = w.Report(t.Context(), p, []RunnerEvent{{ProviderID: "x", State: RunnerTerminated, At: time.Now()}})
	require.NoError(t, err)
	require.Equal(t, StateQueued, w.state(job), "its job is for another")
	w.unwanted("x")
	require.Empty(t, w.poll(p, 0, "a").Terminate, "what has ended needs no end")
}
