package queue

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/queue/grant"
)

func (w *world) cancelled(job Job) {
	w.t.Helper()
	_, err := w.Cancel(w.t.Context(), job.ID)
	require.NoError(w.t, err)
}

func TestAWaitingJobIsCancelledAtOnce(t *testing.T) {
	w := newWorld(t)
	job := w.submit("a")
	w.cancelled(job)
	w.cancelled(job)
	require.Equal(t, []State{StateQueued, StateCancelled}, w.history(job), "cancelling again changes nothing")
	require.Empty(t, w.poll(w.provisioner(GenerationHead), 5, "a").Reservations)
	_, err := w.Cancel(t.Context(), newID())
	require.ErrorIs(t, err, ErrNotFound)
}

func TestTheNextJobTakesACancelledOnesPlace(t *testing.T) {
	w := newWorld(t)
	p := w.provisioner(GenerationHead)
	first, second := w.submit("a"), w.submit("a")
	answer := w.poll(p, 1, "a")
	require.Equal(t, StateReserved, w.state(first))
	w.cancelled(first)
	require.Equal(t, StateReserved, w.state(second), "the promise is kept, for the next job")
	_, _, activation := w.enrolled(p, answer.Reservations[0].ID, "x", "a")
	require.Equal(t, second.ID, w.claimed(activation, true, "a").JobID)
}

func TestAPromiseShrinksWithItsJobs(t *testing.T) {
	w := newWorld(t)
	p := w.provisioner(GenerationHead)
	first := w.submit("a")
	w.submit("a")
	reservation := w.poll(p, 5, "a").Reservations[0]
	require.Equal(t, 2, reservation.Count)
	w.cancelled(first)
	minted, err := w.Mint(t.Context(), p, []InstanceRequest{{Reservation: reservation.ID}, {Reservation: reservation.ID}})
	require.NoError(t, err)
	require.Len(t, minted, 1, "no runner for a job that is gone")
}

func TestARunnerThatCameForNothingIsToEnd(t *testing.T) {
	w := newWorld(t)
	p := w.provisioner(GenerationHead)
	job := w.submit("a")
	_, control, activation := w.enrolled(p, w.poll(p, 1, "a").Reservations[0].ID, "x", "a")
	session, err := w.Register(t.Context(), activation.Reveal(), []string{"a"})
	require.NoError(t, err)
	w.cancelled(job)
	require.Equal(t, StateCancelled, w.state(job))
	answer := w.poll(p, 0, "a")
	require.Len(t, answer.Terminate, 1)
	require.Equal(t, "x", answer.Terminate[0].Runner)
	require.Equal(t, intentCancelled, answer.Terminate[0].Reason)
	w.submit("a")
	_, _, err = w.Claim(t.Context(), session.Token, true)
	require.ErrorIs(t, err, ErrSessionExhausted, "whose end is asked for gets no job, or the job would die with it")
	require.NoError(t, w.ControlHeartbeat(t.Context(), control))
}

func TestARunningJobIsCancelledThroughItsRunner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run()
		p := w.provisioner(GenerationHead)
		job := w.submit("a")
		_, _, activation := w.enrolled(p, w.poll(p, 1, "a").Reservations[0].ID, "x", "a")
		claim := w.claimed(activation, true, "a")

		answers := make(chan PollAnswer, 1)
		began := time.Now()
		go func() {
			answer, err := w.Poll(t.Context(), p, PollRequest{Wait: 20 * time.Second, Max: 5, Slots: []grant.Slots{{Key: "t", Labels: []string{"a"}, Free: 5}}})
			if err != nil {
				t.Error(err)
			}
			answers <- answer
		}()
		synctest.Wait()
		w.cancelled(job)
		answer := <-answers
		require.Zero(t, time.Since(began), "an intent wakes the poll")
		require.Equal(t, []Intent{{Runner: "x", Reason: intentCancelled, id: answer.Terminate[0].id}}, answer.Terminate)
		require.Equal(t, StateRunning, w.state(job), "it runs until its runner says otherwise, or its lease ends")
		renewal, err := w.Renew(t.Context(), claim.LeaseToken, job.ID)
		require.NoError(t, err)
		require.True(t, renewal.Cancel)

		// Until the runner has ended the intent is told again, but not in a busy loop.
		began = time.Now()
		answer, err = w.Poll(t.Context(), p, PollRequest{Wait: 20 * time.Second, Max: 5, Slots: []grant.Slots{{Key: "t", Labels: []string{"a"}, Free: 5}}})
		require.NoError(t, err)
		require.Len(t, answer.Terminate, 1)
		require.Equal(t, retellIntent, time.Since(began))

		// The provisioner ends the runner before that has answered.
		_, _, err = w.Report(t.Context(), p, []RunnerEvent{{ProviderID: "x", Labels: []string{"a"}, State: RunnerTerminated, At: time.Now()}})
		require.NoError(t, err)
		require.Equal(t, StateCancelled, w.state(job))
		require.Empty(t, w.poll(p, 0, "a").Terminate)
		require.ErrorIs(t, w.Finish(t.Context(), claim.LeaseToken, Result{Outcome: OutcomeSucceeded}), ErrLeaseEnded)
	})
}

func TestACancelledJobWhoseRunnerIsLostIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run()
		job, _ := w.claimedJob(JobSpec{Retries: 3}, true)
		w.cancelled(job)
		time.Sleep(121 * time.Second)
		synctest.Wait()
		require.Equal(t, StateCancelled, w.state(job))
	})
}
