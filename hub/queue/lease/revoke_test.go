package lease_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/queue/queuetest"
	"github.com/slipway-ci/slipway/hub/store"
)

func TestRevokeFreesWhatWaitedForTheRunner(t *testing.T) {
	w := queuetest.New(t)
	p, ctx := w.Provisioner(queue.GenerationHead), t.Context()
	minted := w.Add("a")
	instances, err := w.Mint(ctx, p, []queue.InstanceRequest{{Reservation: w.Look(p, 1, "a").Reservations[0].ID, ProviderID: "minted"}})
	require.NoError(t, err)
	enrolled := w.Add("a")
	_, control, activation := w.Enrolled(p, w.Look(p, 1, "a").Reservations[0].ID, "enrolled", "a")
	require.False(t, activation.IsZero())
	_, _, other := w.Enrolled(p, "", "idle", "b")
	require.True(t, other.IsZero())

	require.Equal(t, queue.Revoked{Runners: 2, Again: 2}, w.Revoked("minted", "enrolled", "nobody"))
	for _, job := range []queue.Job{minted, enrolled} {
		require.Equal(t, queue.StateQueued, w.StateOf(job), "nothing ran, so it is free at once")
		require.Equal(t, queue.ReasonHostRemoved, w.ReasonOf(job))
	}
	_, err = w.Exchange(ctx, instances[0].Token.Reveal())
	require.ErrorIs(t, err, queue.ErrUnauthorized, "a registration that was not used")
	_, err = w.Register(ctx, activation.Reveal(), []string{"a"})
	require.ErrorIs(t, err, queue.ErrTokenRevoked)
	require.ErrorIs(t, w.ControlHeartbeat(ctx, control), queue.ErrUnauthorized)
	_, _, err = w.Report(ctx, p, []queue.RunnerEvent{{ProviderID: "minted", Labels: []string{"a"}, State: queue.RunnerRunning, At: time.Now()}})
	require.NoError(t, err)
	require.Equal(t, queue.StateQueued, w.StateOf(minted), "a late report revives nothing")
	require.Equal(t, queue.Revoked{}, w.Revoked("minted", "enrolled"), "the second time there is nothing left")

	_, _, again := w.Enrolled(p, w.Look(p, 2, "a").Reservations[0].ID, "next", "a")
	require.Equal(t, minted.ID, w.Claimed(again, true, "a").JobID)
	w.CheckCounts()
}

func TestRevokeEndsTheJobsThatRan(t *testing.T) {
	for name, test := range map[string]struct {
		ours, cancel bool
		retries      int
		want         queue.State
	}{
		"no retry allowed":           {ours: true, want: queue.StateRunnerLost},
		"not ours is never retried":  {retries: 3, want: queue.StateFailed},
		"cancelled is never retried": {ours: true, cancel: true, retries: 3, want: queue.StateCancelled},
	} {
		t.Run(name, func(t *testing.T) {
			w := queuetest.New(t)
			p := w.Provisioner(queue.GenerationHead)
			job, claim := w.Running(p, "r", queue.JobSpec{Retries: test.retries}, test.ours)
			bystander, other := w.Running(p, "bystander", queue.JobSpec{}, true)
			if test.cancel {
				_, err := w.Cancel(t.Context(), job.ID)
				require.NoError(t, err)
			}
			require.Equal(t, queue.Revoked{Runners: 1, Ended: 1}, w.Revoked("r"))
			require.Equal(t, test.want, w.StateOf(job))
			require.Equal(t, queue.ReasonHostRemoved, w.ReasonOf(job))
			w.Refused(claim)
			require.Equal(t, test.want, w.StateOf(job), "what comes with a revoked lease changes nothing")
			_, err := w.Renew(t.Context(), other.LeaseToken, bystander.ID)
			require.NoError(t, err, "others go on")
			w.CheckCounts()
			w.CheckFinals()
		})
	}
}

// A runner that nobody can reach goes on until its lease runs out by its own
// clock. Until then the job must not run elsewhere, hub restarted or not.
func TestARevokedJobRunsAgainOnlyWhenItsRunnerMustHaveEnded(t *testing.T) {
	for name, restart := range map[string]bool{"": false, "with a restart of the hub": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := queuetest.New(t)
				p := w.Provisioner(queue.GenerationHead)
				job, claim := w.Running(p, "r", queue.JobSpec{Retries: 1}, true)
				time.Sleep(50 * time.Second)
				renewal, err := w.Renew(t.Context(), claim.LeaseToken, job.ID)
				require.NoError(t, err)
				claim.LeaseToken = renewal.LeaseToken
				time.Sleep(10 * time.Second)
				require.Equal(t, queue.Revoked{Runners: 1, Again: 1}, w.Revoked("r"))
				require.Equal(t, queue.ReasonHostRemoved, w.ReasonOf(job))
				w.Refused(claim)
				left := 110 * time.Second // of 90 s and 30 s since the renewal
				if restart {
					require.NoError(t, w.Store().Close())
					w = queuetest.Open(t, w.Dir)
					left = 120 * time.Second
					w.Refused(claim)
				}
				w.Start()
				w.Refused(claim)
				require.Equal(t, queue.Revoked{}, w.Revoked("r"))
				time.Sleep(left - time.Second)
				synctest.Wait()
				_, found, err := w.Claim(t.Context(), w.Manual("a").Token, true)
				require.NoError(t, err)
				require.False(t, found, "its first runner may still be running it")
				time.Sleep(2 * time.Second)
				synctest.Wait()
				require.Equal(t, queue.StateQueued, w.StateOf(job))
				again, found, err := w.Claim(t.Context(), w.Manual("a").Token, true)
				require.NoError(t, err)
				require.True(t, found)
				require.Equal(t, 2, again.Attempt)
				w.Refused(claim)
				require.NoError(t, w.Finish(t.Context(), again.LeaseToken, queue.Result{Outcome: queue.OutcomeSucceeded}))
			})
		})
	}
}

func TestARevokedClaimThatNeverBeganIsFreeAtOnce(t *testing.T) {
	w := queuetest.New(t)
	p := w.Provisioner(queue.GenerationHead)
	job := w.Add("a")
	_, _, activation := w.Enrolled(p, w.Look(p, 1, "a").Reservations[0].ID, "r", "a")
	session, err := w.Register(t.Context(), activation.Reveal(), []string{"a"})
	require.NoError(t, err)
	claim, _, err := w.Claim(t.Context(), session.Token, true)
	require.NoError(t, err)
	require.Equal(t, queue.Revoked{Runners: 1, Again: 1}, w.Revoked("r"))
	require.Equal(t, queue.StateQueued, w.StateOf(job))
	w.Refused(claim)
	_, _, err = w.Claim(t.Context(), session.Token, true)
	require.ErrorIs(t, err, queue.ErrUnauthorized, "its session is over, too")
}

func TestRevokeIsOneWriteWithItsChoice(t *testing.T) {
	w := queuetest.New(t)
	p := w.Provisioner(queue.GenerationHead)
	job, claim := w.Running(p, "r", queue.JobSpec{}, true)
	broken := errors.New("no")
	_, err := w.Revoke(t.Context(), queue.ReasonHostRemoved, func(tx *store.Tx) ([]string, error) {
		_, err := tx.Exec(`INSERT INTO settings (name, value) VALUES ('x', 'y')`)
		require.NoError(t, err)
		return []string{"r"}, broken
	})
	require.ErrorIs(t, err, broken)
	require.Equal(t, queue.StateRunning, w.StateOf(job))
	_, err = w.CheckLease(t.Context(), claim.LeaseToken)
	require.NoError(t, err)
	require.Zero(t, w.Count(`settings WHERE name = 'x'`), "what the choice wrote is undone with it")
}
