package lease_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/queue/queuetest"
	"github.com/slipway-ci/slipway/hub/store"
)

func TestALeaseLivesFromItsLastRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := queuetest.New(t)
		w.Start()
		job, claim := w.ClaimedJob(queue.JobSpec{}, true)
		for range 20 { // far longer than a ttl in all
			time.Sleep(80 * time.Second)
			renewal, err := w.Renew(t.Context(), claim.LeaseToken, job.ID)
			require.NoError(t, err)
			claim.LeaseToken = renewal.LeaseToken
		}
		time.Sleep(90*time.Second + 29*time.Second)
		synctest.Wait()
		require.Equal(t, queue.StateRunning, w.StateOf(job), "the job is called lost only a ttl and 30 s after the last renewal")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.Equal(t, queue.StateRunnerLost, w.StateOf(job))

		_, err := w.Renew(t.Context(), claim.LeaseToken, job.ID)
		require.ErrorIs(t, err, queue.ErrLeaseEnded)
		require.ErrorIs(t, w.Finish(t.Context(), claim.LeaseToken, queue.Result{Outcome: queue.OutcomeSucceeded}), queue.ErrLeaseEnded)
		err = w.WithLease(t.Context(), claim.LeaseToken, func(*store.Tx, queue.Lease) error { t.Error("stored with an ended lease"); return nil })
		require.ErrorIs(t, err, queue.ErrLeaseEnded)
		require.Equal(t, queue.StateRunnerLost, w.StateOf(job), "what comes with an ended lease changes nothing")
	})
}

func TestALostJobRunsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := queuetest.New(t)
		w.Start()
		job, first := w.ClaimedJob(queue.JobSpec{Retries: 1}, true)
		time.Sleep(121 * time.Second)
		synctest.Wait()
		require.Equal(t, queue.StateQueued, w.StateOf(job))
		second, found, err := w.Claim(t.Context(), w.Manual("a").Token, true)
		require.NoError(t, err)
		require.True(t, found)
		require.Equal(t, 2, second.Attempt)
		require.ErrorIs(t, w.Finish(t.Context(), first.LeaseToken, queue.Result{Outcome: queue.OutcomeFailed}), queue.ErrLeaseEnded,
			"the first runner's result must not end the second attempt")
		require.Equal(t, queue.StateRunning, w.StateOf(job))
		require.NoError(t, w.Finish(t.Context(), second.LeaseToken, queue.Result{Outcome: queue.OutcomeSucceeded}))
		require.Equal(t, []queue.State{queue.StateQueued, queue.StateRunning, queue.StateQueued, queue.StateRunning, queue.StateSucceeded}, w.History(job))
	})
}

func TestAJobOfAForeignRunnerNeverRunsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := queuetest.New(t)
		w.Start()
		foreign, _ := w.ClaimedJob(queue.JobSpec{Retries: 5}, false)
		ours, claim := w.ClaimedJob(queue.JobSpec{Retries: 5}, false)
		_, err := w.LeasedJob(t.Context(), claim.LeaseToken) // only a Slipway runner asks
		require.NoError(t, err)
		time.Sleep(121 * time.Second)
		synctest.Wait()
		require.Equal(t, queue.StateFailed, w.StateOf(foreign))
		require.Equal(t, queue.StateQueued, w.StateOf(ours))
	})
}

// The answer to a claim may be lost, or the hub killed before it is sent.
func TestAClaimWhoseAnswerIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := queuetest.New(t)
		w.Start()
		p := w.Provisioner(queue.GenerationERT)
		job := w.Add("a")
		minted, err := w.MintTokens(t.Context(), p, w.Look(p, 1, "a").Reservations[0].ID, []string{"x"})
		require.NoError(t, err)
		session, err := w.Register(t.Context(), minted[0].Token.Reveal(), []string{"a"})
		require.NoError(t, err)
		first, _, err := w.Claim(t.Context(), session.Token, true)
		require.NoError(t, err)
		again, found, err := w.Claim(t.Context(), session.Token, true)
		require.NoError(t, err)
		require.True(t, found)
		require.Equal(t, first.Lease, again.Lease, "the same lease: a job has one at a time")
		_, _, err = w.Claim(t.Context(), session.Token, false)
		require.ErrorIs(t, err, queue.ErrSessionExhausted, "a foreign runner may have begun")

		by := w.Manual("b")
		w.Add("b")
		w.Add("b")
		hand, _, err := w.Claim(t.Context(), by.Token, true)
		require.NoError(t, err)
		handAgain, _, err := w.Claim(t.Context(), by.Token, true)
		require.NoError(t, err)
		require.Equal(t, hand.Lease, handAgain.Lease, "nor does one that may claim many get two at once")
		_, err = w.LeasedJob(t.Context(), hand.LeaseToken)
		require.NoError(t, err)
		other, _, err := w.Claim(t.Context(), by.Token, true)
		require.NoError(t, err)
		require.NotEqual(t, hand.JobID, other.JobID)

		time.Sleep(121 * time.Second)
		synctest.Wait()
		require.Equal(t, queue.StateQueued, w.StateOf(job), "a job that never began is not lost, retries or not")
		second, _, err := w.Claim(t.Context(), w.Manual("a").Token, true)
		require.NoError(t, err)
		_, err = w.LeasedJob(t.Context(), second.LeaseToken)
		require.NoError(t, err)
		_, _, err = w.Claim(t.Context(), session.Token, true)
		require.ErrorIs(t, err, queue.ErrSessionExhausted)
	})
}

func TestARestartGivesEveryLeaseAFullLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := queuetest.New(t)
		job, claim := w.ClaimedJob(queue.JobSpec{}, true)
		time.Sleep(10 * time.Minute) // nobody could renew for all that time
		require.NoError(t, w.Store().Close())
		w = queuetest.Open(t, w.Dir)
		w.Start()
		time.Sleep(119 * time.Second)
		synctest.Wait()
		require.Equal(t, queue.StateRunning, w.StateOf(job))
		_, err := w.Renew(t.Context(), claim.LeaseToken, job.ID)
		require.NoError(t, err, "tokens outlive a restart too")
		time.Sleep(121 * time.Second)
		synctest.Wait()
		require.Equal(t, queue.StateRunnerLost, w.StateOf(job))
	})
}

// An answer with an activation token may be lost; the next one is good, and alone.
func TestANewActivationEndsTheOneBefore(t *testing.T) {
	w := queuetest.New(t)
	p := w.Provisioner(queue.GenerationHead)
	w.Add("a")
	_, control, lost := w.Enrolled(p, w.Look(p, 1, "a").Reservations[0].ID, "x", "a")
	again, err := w.Assignment(t.Context(), control, 0)
	require.NoError(t, err)
	_, err = w.Register(t.Context(), lost.Reveal(), []string{"a"})
	require.ErrorIs(t, err, queue.ErrUnauthorized)
	w.Claimed(again, true, "a")
}

// Thousands of runners renew all the time: with the database closed they still can.
func TestARenewalNeedsNoDisk(t *testing.T) {
	w := queuetest.New(t)
	job, claim := w.ClaimedJob(queue.JobSpec{}, true)
	cancelled, other := w.ClaimedJob(queue.JobSpec{}, true)
	w.Cancelled(cancelled)
	require.NoError(t, w.Store().Close())
	renewal, err := w.Renew(t.Context(), claim.LeaseToken, job.ID)
	require.NoError(t, err)
	require.False(t, renewal.Cancel)
	renewal, err = w.Renew(t.Context(), other.LeaseToken, cancelled.ID)
	require.NoError(t, err)
	require.True(t, renewal.Cancel)

	w = queuetest.Open(t, w.Dir)
	renewal, err = w.Renew(t.Context(), other.LeaseToken, cancelled.ID)
	require.NoError(t, err)
	require.True(t, renewal.Cancel, "who is told to end a job is told so after a restart, too")
	require.NoError(t, w.Finish(t.Context(), claim.LeaseToken, queue.Result{Outcome: queue.OutcomeSucceeded}))
	_, err = w.Renew(t.Context(), claim.LeaseToken, job.ID)
	require.ErrorIs(t, err, queue.ErrLeaseEnded)
}

func TestTheServersOwnEndOfATimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := queuetest.New(t)
		w.Start()
		job, claim := w.ClaimedJob(queue.JobSpec{Timeout: 5 * time.Minute, Retries: 3}, true)
		began, refused := time.Now(), time.Duration(0)
		for refused == 0 {
			time.Sleep(10 * time.Second)
			if _, err := w.Renew(t.Context(), claim.LeaseToken, job.ID); err != nil {
				require.ErrorIs(t, err, queue.ErrLeaseEnded)
				refused = time.Since(began)
			}
			require.Less(t, time.Since(began), time.Hour, "the lease of a job past its timeout must end")
		}
		require.Greater(t, refused, 6*time.Minute, "the runner itself has a minute to say so")
		require.Less(t, refused, 7*time.Minute)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		require.Equal(t, queue.StateTimedOut, w.StateOf(job))
	})
}

func TestOneJobOneLease(t *testing.T) {
	w := queuetest.New(t)
	const jobs, runners = 10, 60
	for range jobs {
		w.Add("a")
	}
	sessions := make([]queue.Session, runners)
	for i := range sessions {
		sessions[i] = w.Manual("a")
	}
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex
		holders = map[string]int{}
	)
	for _, s := range sessions {
		wg.Go(func() {
			claim, found, err := w.Claim(t.Context(), s.Token, true)
			if err != nil {
				t.Error(err)
			}
			if found {
				mu.Lock()
				holders[claim.JobID]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	require.Len(t, holders, jobs)
	for id, n := range holders {
		require.Equal(t, 1, n, "job %s was given to %d leases at a time", id, n)
	}
}

// The unique index holds even where the code would not.
func TestASecondLeaseIsImpossible(t *testing.T) {
	w := queuetest.New(t)
	job, _ := w.ClaimedJob(queue.JobSpec{}, true)
	err := w.Store().Write(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO leases (id, job_id, session_id, attempt, ours, created_at) VALUES ('second', ?, 's', 2, 1, 0)`, job.ID)
		return err
	})
	require.ErrorContains(t, err, "UNIQUE")
}

func TestALeaseIsForItsJobAndRoleOnly(t *testing.T) {
	w := queuetest.New(t)
	job, claim := w.ClaimedJob(queue.JobSpec{}, true)
	other := w.Add("b")
	_, err := w.Renew(t.Context(), claim.LeaseToken, other.ID)
	require.ErrorIs(t, err, queue.ErrLeaseJob)
	session := w.Manual("a")
	_, err = w.Renew(t.Context(), session.Token, job.ID)
	require.ErrorIs(t, err, queue.ErrUnauthorized, "a session token is no lease token")
	_, _, err = w.Claim(t.Context(), claim.LeaseToken, true)
	require.ErrorIs(t, err, queue.ErrUnauthorized, "a lease token is no session token")
}

func TestTokensEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := queuetest.New(t)
		job, claim := w.ClaimedJob(queue.JobSpec{}, true)
		session := w.Manual("a")
		time.Sleep(61 * time.Minute)
		_, _, err := w.Claim(t.Context(), session.Token, true)
		require.ErrorIs(t, err, queue.ErrUnauthorized)
		time.Sleep(30 * time.Minute)
		_, err = w.Renew(t.Context(), claim.LeaseToken, job.ID)
		require.ErrorIs(t, err, queue.ErrUnauthorized)
	})
}
