package jobs_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/queue/grant"
	"github.com/slipway-ci/slipway/hub/queue/ledger"
	"github.com/slipway-ci/slipway/hub/queue/queuetest"
)

func TestAWaitingJobIsCancelledAtOnce(t *testing.T) {
	w := queuetest.New(t)
	job := w.Add("a")
	w.Cancelled(job)
	w.Cancelled(job)
	require.Equal(t, []queue.State{queue.StateQueued, queue.StateCancelled}, w.History(job), "cancelling again changes nothing")
	require.Empty(t, w.Look(w.Provisioner(queue.GenerationHead), 5, "a").Reservations)
	_, err := w.Cancel(t.Context(), ledger.NewID())
	require.ErrorIs(t, err, queue.ErrNotFound)
}

func TestTheNextJobTakesACancelledOnesPlace(t *testing.T) {
	w := queuetest.New(t)
	p := w.Provisioner(queue.GenerationHead)
	first, second := w.Add("a"), w.Add("a")
	answer := w.Look(p, 1, "a")
	require.Equal(t, queue.StateReserved, w.StateOf(first))
	w.Cancelled(first)
	require.Equal(t, queue.StateReserved, w.StateOf(second), "the promise is kept, for the next job")
	_, _, activation := w.Enrolled(p, answer.Reservations[0].ID, "x", "a")
	require.Equal(t, second.ID, w.Claimed(activation, true, "a").JobID)
}

func TestAPromiseShrinksWithItsJobs(t *testing.T) {
	w := queuetest.New(t)
	p := w.Provisioner(queue.GenerationHead)
	first := w.Add("a")
	w.Add("a")
	reservation := w.Look(p, 5, "a").Reservations[0]
	require.Equal(t, 2, reservation.Count)
	w.Cancelled(first)
	minted, err := w.Mint(t.Context(), p, []queue.InstanceRequest{{Reservation: reservation.ID}, {Reservation: reservation.ID}})
	require.NoError(t, err)
	require.Len(t, minted, 1, "no runner for a job that is gone")
}

func TestARunnerThatCameForNothingIsToEnd(t *testing.T) {
	w := queuetest.New(t)
	p := w.Provisioner(queue.GenerationHead)
	job := w.Add("a")
	_, control, activation := w.Enrolled(p, w.Look(p, 1, "a").Reservations[0].ID, "x", "a")
	session, err := w.Register(t.Context(), activation.Reveal(), []string{"a"})
	require.NoError(t, err)
	w.Cancelled(job)
	require.Equal(t, queue.StateCancelled, w.StateOf(job))
	answer := w.Look(p, 0, "a")
	require.Len(t, answer.Terminate, 1)
	require.Equal(t, "x", answer.Terminate[0].Runner)
	require.Equal(t, ledger.IntentCancelled, answer.Terminate[0].Reason)
	w.Add("a")
	_, _, err = w.Claim(t.Context(), session.Token, true)
	require.ErrorIs(t, err, queue.ErrSessionExhausted, "whose end is asked for gets no job, or the job would die with it")
	require.NoError(t, w.ControlHeartbeat(t.Context(), control))
}

func TestARunningJobIsCancelledThroughItsRunner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := queuetest.New(t)
		w.Start()
		p := w.Provisioner(queue.GenerationHead)
		job := w.Add("a")
		_, _, activation := w.Enrolled(p, w.Look(p, 1, "a").Reservations[0].ID, "x", "a")
		claim := w.Claimed(activation, true, "a")

		answers := make(chan queue.PollAnswer, 1)
		began := time.Now()
		go func() {
			answer, err := w.Poll(t.Context(), p, queue.PollRequest{Wait: 20 * time.Second, Max: 5, Slots: []grant.Slots{{Key: "t", Labels: []string{"a"}, Free: 5}}})
			if err != nil {
				t.Error(err)
			}
			answers <- answer
		}()
		synctest.Wait()
		w.Cancelled(job)
		answer := <-answers
		require.Zero(t, time.Since(began), "an intent wakes the poll")
		require.Len(t, answer.Terminate, 1)
		require.Equal(t, "x", answer.Terminate[0].Runner)
		require.Equal(t, ledger.IntentCancelled, answer.Terminate[0].Reason)
		require.Equal(t, queue.StateRunning, w.StateOf(job), "it runs until its runner says otherwise, or its lease ends")
		renewal, err := w.Renew(t.Context(), claim.LeaseToken, job.ID)
		require.NoError(t, err)
		require.True(t, renewal.Cancel)

		// Until the runner has ended the intent is told again, but not in a busy loop.
		began = time.Now()
		answer, err = w.Poll(t.Context(), p, queue.PollRequest{Wait: 20 * time.Second, Max: 5, Slots: []grant.Slots{{Key: "t", Labels: []string{"a"}, Free: 5}}})
		require.NoError(t, err)
		require.Len(t, answer.Terminate, 1)
		require.Equal(t, time.Second, time.Since(began))

		// The provisioner ends the runner before that has answered.
		_, _, err = w.Report(t.Context(), p, []queue.RunnerEvent{{ProviderID: "x", Labels: []string{"a"}, State: queue.RunnerTerminated, At: time.Now()}})
		require.NoError(t, err)
		require.Equal(t, queue.StateCancelled, w.StateOf(job))
		require.Empty(t, w.Look(p, 0, "a").Terminate)
		require.ErrorIs(t, w.Finish(t.Context(), claim.LeaseToken, queue.Result{Outcome: queue.OutcomeSucceeded}), queue.ErrLeaseEnded)
	})
}

func TestACancelledJobWhoseRunnerIsLostIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := queuetest.New(t)
		w.Start()
		job, _ := w.ClaimedJob(queue.JobSpec{Retries: 3}, true)
		w.Cancelled(job)
		time.Sleep(121 * time.Second)
		synctest.Wait()
		require.Equal(t, queue.StateCancelled, w.StateOf(job))
	})
}
