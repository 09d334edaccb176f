package queue

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/store"
)

func TestWhatBecomesOfALostJob(t *testing.T) {
	for name, test := range map[string]struct {
		loss loss
		want fate
	}{
		"no retry allowed":          {loss{Ours: true, Lost: 1}, fate{State: StateRunnerLost, Reason: "its runner stopped renewing"}},
		"the first of two retries":  {loss{Ours: true, Lost: 1, Retries: 2}, fate{Again: true, State: StateQueued, Reason: "runner lost, retry 1 of 2"}},
		"the last retry":            {loss{Ours: true, Lost: 2, Retries: 2}, fate{Again: true, State: StateQueued, Reason: "runner lost, retry 2 of 2"}},
		"retries used up":           {loss{Ours: true, Lost: 3, Retries: 2}, fate{State: StateRunnerLost, Reason: "its runner stopped renewing"}},
		"it never began":            {loss{Ours: true, Unused: true, LostUnused: 1}, fate{Again: true, State: StateQueued, Reason: "its runner was lost before it began"}},
		"it never began, too often": {loss{Ours: true, Unused: true, LostUnused: maxUnused + 1, Retries: 9}, fate{State: StateRunnerLost, Reason: "its runner stopped renewing"}},
		"not ours is never retried": {loss{Lost: 1, Retries: 5}, fate{State: StateFailed, Reason: "its runner, not a Slipway runner, stopped renewing"}},
		"cancelled is not retried":  {loss{Ours: true, Lost: 1, Retries: 5, Cancelled: true}, fate{State: StateCancelled, Reason: "cancelled; its runner did not answer"}},
		"overtime is not retried":   {loss{Ours: true, Lost: 1, Retries: 5, Overtime: true}, fate{State: StateTimedOut, Reason: "ran past its timeout; its runner did not answer"}},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, test.want, lossOf(test.loss)) })
	}
}

// claimedJob submits a job and has a runner claim it.
func (w *world) claimedJob(spec JobSpec, ours bool) (Job, Claim) {
	w.t.Helper()
	spec.Labels, spec.Run = []string{"a"}, "true"
	job, err := w.Submit(w.t.Context(), spec)
	require.NoError(w.t, err)
	claim, found, err := w.Claim(w.t.Context(), w.manual("a").Token, ours)
	require.NoError(w.t, err)
	require.True(w.t, found)
	require.Equal(w.t, job.ID, claim.JobID)
	if ours {
		_, err = w.LeasedJob(w.t.Context(), claim.LeaseToken)
		require.NoError(w.t, err)
	}
	return job, claim
}

func TestALeaseLivesFromItsLastRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run()
		job, claim := w.claimedJob(JobSpec{}, true)
		for range 20 { // far longer than a ttl in all
			time.Sleep(80 * time.Second)
			renewal, err := w.Renew(t.Context(), claim.LeaseToken, job.ID)
			require.NoError(t, err)
			claim.LeaseToken = renewal.LeaseToken
		}
		time.Sleep(90*time.Second + 29*time.Second)
		synctest.Wait()
		require.Equal(t, StateRunning, w.state(job), "the job is called lost only a ttl and 30 s after the last renewal")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.Equal(t, StateRunnerLost, w.state(job))

		_, err := w.Renew(t.Context(), claim.LeaseToken, job.ID)
		require.ErrorIs(t, err, ErrLeaseEnded)
		require.ErrorIs(t, w.Finish(t.Context(), claim.LeaseToken, Result{Outcome: OutcomeSucceeded}), ErrLeaseEnded)
		err = w.WithLease(t.Context(), claim.LeaseToken, func(*store.Tx, Lease) error { t.Error("stored with an ended lease"); return nil })
		require.ErrorIs(t, err, ErrLeaseEnded)
		require.Equal(t, StateRunnerLost, w.state(job), "what comes with an ended lease changes nothing")
	})
}

func TestALostJobRunsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run()
		job, first := w.claimedJob(JobSpec{Retries: 1}, true)
		time.Sleep(121 * time.Second)
		synctest.Wait()
		require.Equal(t, StateQueued, w.state(job))
		second, found, err := w.Claim(t.Context(), w.manual("a").Token, true)
		require.NoError(t, err)
		require.True(t, found)
		require.Equal(t, 2, second.Attempt)
		require.ErrorIs(t, w.Finish(t.Context(), first.LeaseToken, Result{Outcome: OutcomeFailed}), ErrLeaseEnded,
			"the first runner's result must not end the second attempt")
		require.Equal(t, StateRunning, w.state(job))
		require.NoError(t, w.Finish(t.Context(), second.LeaseToken, Result{Outcome: OutcomeSucceeded}))
		require.Equal(t, []State{StateQueued, StateRunning, StateQueued, StateRunning, StateSucceeded}, w.history(job))
	})
}

func TestAJobOfAForeignRunnerNeverRunsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run()
		foreign, _ := w.claimedJob(JobSpec{Retries: 5}, false)
		ours, claim := w.claimedJob(JobSpec{Retries: 5}, false)
		_, err := w.LeasedJob(t.Context(), claim.LeaseToken) // only a Slipway runner asks
		require.NoError(t, err)
		time.Sleep(121 * time.Second)
		synctest.Wait()
		require.Equal(t, StateFailed, w.state(foreign))
		require.Equal(t, StateQueued, w.state(ours))
	})
}

// The answer to a claim may be lost, or the hub killed before it is sent.
func TestAClaimWhoseAnswerIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run()
		p := w.provisioner(GenerationERT)
		job := w.submit("a")
		minted, err := w.MintTokens(t.Context(), p, w.poll(p, 1, "a").Reservations[0].ID, []string{"x"})
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
		require.ErrorIs(t, err, ErrSessionExhausted, "a foreign runner may have begun")

		time.Sleep(121 * time.Second)
		synctest.Wait()
		require.Equal(t, StateQueued, w.state(job), "a job that never began is not lost, retries or not")
		second, _, err := w.Claim(t.Context(), w.manual("a").Token, true)
		require.NoError(t, err)
		_, err = w.LeasedJob(t.Context(), second.LeaseToken)
		require.NoError(t, err)
		_, _, err = w.Claim(t.Context(), session.Token, true)
		require.ErrorIs(t, err, ErrSessionExhausted)
	})
}

func TestARestartGivesEveryLeaseAFullLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		job, claim := w.claimedJob(JobSpec{}, true)
		time.Sleep(10 * time.Minute) // nobody could renew for all that time
		require.NoError(t, w.store.Close())
		w = openWorld(t, w.dir)
		w.run()
		time.Sleep(119 * time.Second)
		synctest.Wait()
		require.Equal(t, StateRunning, w.state(job))
		_, err := w.Renew(t.Context(), claim.LeaseToken, job.ID)
		require.NoError(t, err, "tokens outlive a restart too")
		time.Sleep(121 * time.Second)
		synctest.Wait()
		require.Equal(t, StateRunnerLost, w.state(job))
	})
}

func TestTheServersOwnEndOfATimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run()
		job, claim := w.claimedJob(JobSpec{Timeout: 5 * time.Minute, Retries: 3}, true)
		began, refused := time.Now(), time.Duration(0)
		for refused == 0 {
			time.Sleep(10 * time.Second)
			if _, err := w.Renew(t.Context(), claim.LeaseToken, job.ID); err != nil {
				require.ErrorIs(t, err, ErrLeaseEnded)
				refused = time.Since(began)
			}
			require.Less(t, time.Since(began), time.Hour, "the lease of a job past its timeout must end")
		}
		require.Greater(t, refused, 6*time.Minute, "the runner itself has a minute to say so")
		require.Less(t, refused, 7*time.Minute)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		require.Equal(t, StateTimedOut, w.state(job))
	})
}

func TestOneJobOneLease(t *testing.T) {
	w := newWorld(t)
	const jobs, runners = 10, 60
	for range jobs {
		w.submit("a")
	}
	sessions := make([]Session, runners)
	for i := range sessions {
		sessions[i] = w.manual("a")
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
	w := newWorld(t)
	job, _ := w.claimedJob(JobSpec{}, true)
	err := w.write(t.Context(), func(tx *tx) error {
		_, err := tx.lease(Session{ID: newID()}, job, true)
		return err
	})
	require.ErrorContains(t, err, "UNIQUE")
}

func TestALeaseIsForItsJobAndRoleOnly(t *testing.T) {
	w := newWorld(t)
	job, claim := w.claimedJob(JobSpec{}, true)
	other := w.submit("b")
	_, err := w.Renew(t.Context(), claim.LeaseToken, other.ID)
	require.ErrorIs(t, err, ErrLeaseJob)
	session := w.manual("a")
	_, err = w.Renew(t.Context(), session.Token, job.ID)
	require.ErrorIs(t, err, ErrUnauthorized, "a session token is no lease token")
	_, _, err = w.Claim(t.Context(), claim.LeaseToken, true)
	require.ErrorIs(t, err, ErrUnauthorized, "a lease token is no session token")
	forged, err := newSigner([]byte("another key, of another folder..")).lease(claim.Lease, job.ID)
	require.NoError(t, err)
	_, err = w.Renew(t.Context(), forged, job.ID)
	require.ErrorIs(t, err, ErrUnauthorized)
}

func TestTokensEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		job, claim := w.claimedJob(JobSpec{}, true)
		session := w.manual("a")
		time.Sleep(61 * time.Minute)
		_, _, err := w.Claim(t.Context(), session.Token, true)
		require.ErrorIs(t, err, ErrUnauthorized)
		time.Sleep(30 * time.Minute)
		_, err = w.Renew(t.Context(), claim.LeaseToken, job.ID)
		require.ErrorIs(t, err, ErrUnauthorized)
	})
}
