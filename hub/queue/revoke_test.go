package queue

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/store"
)

// revoked revokes runners by their provider ids.
func (w *world) revoked(ids ...string) Revoked {
	w.t.Helper()
	done, err := w.Revoke(w.t.Context(), ReasonHostRemoved, func(*store.Tx) ([]string, error) { return ids, nil })
	require.NoError(w.t, err)
	return done
}

// running has a runner with the provider id claim a new job, and ask what to run.
func (w *world) running(p Provisioner, providerID string, spec JobSpec, ours bool) (Job, Claim) {
	w.t.Helper()
	spec.Labels, spec.Run = []string{"a"}, "true"
	job, err := w.Submit(w.t.Context(), spec)
	require.NoError(w.t, err)
	_, _, activation := w.enrolled(p, w.poll(p, 1, "a").Reservations[0].ID, providerID, "a")
	claim := w.claimed(activation, ours, "a")
	require.Equal(w.t, job.ID, claim.JobID)
	if ours {
		_, err = w.LeasedJob(w.t.Context(), claim.LeaseToken)
		require.NoError(w.t, err)
	}
	return job, claim
}

func (w *world) reason(job Job) string {
	w.t.Helper()
	now, err := w.Job(w.t.Context(), job.ID)
	require.NoError(w.t, err)
	return now.Reason
}

// refused checks that nothing is accepted from who holds the lease.
func (w *world) refused(claim Claim) {
	w.t.Helper()
	ctx := w.t.Context()
	_, err := w.Renew(ctx, claim.LeaseToken, claim.JobID)
	require.ErrorIs(w.t, err, ErrLeaseEnded)
	_, err = w.LeasedJob(ctx, claim.LeaseToken)
	require.ErrorIs(w.t, err, ErrLeaseEnded)
	_, err = w.CheckLease(ctx, claim.LeaseToken)
	require.ErrorIs(w.t, err, ErrLeaseEnded)
	require.ErrorIs(w.t, w.Finish(ctx, claim.LeaseToken, Result{Outcome: OutcomeSucceeded}), ErrLeaseEnded)
	err = w.WithLease(ctx, claim.LeaseToken, func(*store.Tx, Lease) error { w.t.Error("stored with a revoked lease"); return nil })
	require.ErrorIs(w.t, err, ErrLeaseEnded)
}

func TestRevokeFreesWhatWaitedForTheRunner(t *testing.T) {
	w := newWorld(t)
	p, ctx := w.provisioner(GenerationHead), t.Context()
	minted := w.submit("a")
	instances, err := w.Mint(ctx, p, []InstanceRequest{{Reservation: w.poll(p, 1, "a").Reservations[0].ID, ProviderID: "minted"}})
	require.NoError(t, err)
	enrolled := w.submit("a")
	_, control, activation := w.enrolled(p, w.poll(p, 1, "a").Reservations[0].ID, "enrolled", "a")
	require.False(t, activation.IsZero())
	_, _, other := w.enrolled(p, "", "idle", "b")
	require.True(t, other.IsZero())

	require.Equal(t, Revoked{Runners: 2, Again: 2}, w.revoked("minted", "enrolled", "nobody"))
	for _, job := range []Job{minted, enrolled} {
		require.Equal(t, StateQueued, w.state(job), "nothing ran, so it is free at once")
		require.Equal(t, ReasonHostRemoved, w.reason(job))
	}
	_, err = w.Exchange(ctx, instances[0].Token.Reveal())
	require.ErrorIs(t, err, ErrUnauthorized, "a registration that was not used")
	_, err = w.Register(ctx, activation.Reveal(), []string{"a"})
	require.ErrorIs(t, err, ErrTokenRevoked)
	require.ErrorIs(t, w.ControlHeartbeat(ctx, control), ErrUnauthorized)
	_, _, err = w.Report(ctx, p, []RunnerEvent{{ProviderID: "minted", Labels: []string{"a"}, State: RunnerRunning, At: time.Now()}})
	require.NoError(t, err)
	require.Equal(t, StateQueued, w.state(minted), "a late report revives nothing")
	require.Equal(t, Revoked{}, w.revoked("minted", "enrolled"), "the second time there is nothing left")

	_, _, again := w.enrolled(p, w.poll(p, 2, "a").Reservations[0].ID, "next", "a")
	require.Equal(t, minted.ID, w.claimed(again, true, "a").JobID)
	w.checkCounts()
}

func TestRevokeEndsTheJobsThatRan(t *testing.T) {
	for name, test := range map[string]struct {
		ours, cancel bool
		retries      int
		want         State
	}{
		"no retry allowed":           {ours: true, want: StateRunnerLost},
		"not ours is never retried":  {retries: 3, want: StateFailed},
		"cancelled is never retried": {ours: true, cancel: true, retries: 3, want: StateCancelled},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			p := w.provisioner(GenerationHead)
			job, claim := w.running(p, "r", JobSpec{Retries: test.retries}, test.ours)
			bystander, other := w.running(p, "bystander", JobSpec{}, true)
			if test.cancel {
				_, err := w.Cancel(t.Context(), job.ID)
				require.NoError(t, err)
			}
			require.Equal(t, Revoked{Runners: 1, Ended: 1}, w.revoked("r"))
			require.Equal(t, test.want, w.state(job))
			require.Equal(t, ReasonHostRemoved, w.reason(job))
			w.refused(claim)
			require.Equal(t, test.want, w.state(job), "what comes with a revoked lease changes nothing")
			_, err := w.Renew(t.Context(), other.LeaseToken, bystander.ID)
			require.NoError(t, err, "others go on")
			w.checkCounts()
			w.checkFinals()
		})
	}
}

// A runner that nobody can reach goes on until its lease runs out by its own
// clock. Until then the job must not run elsewhere, hub restarted or not.
func TestARevokedJobRunsAgainOnlyWhenItsRunnerMustHaveEnded(t *testing.T) {
	for name, restart := range map[string]bool{"": false, "with a restart of the hub": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				p := w.provisioner(GenerationHead)
				job, claim := w.running(p, "r", JobSpec{Retries: 1}, true)
				time.Sleep(50 * time.Second)
				renewal, err := w.Renew(t.Context(), claim.LeaseToken, job.ID)
				require.NoError(t, err)
				claim.LeaseToken = renewal.LeaseToken
				time.Sleep(10 * time.Second)
				require.Equal(t, Revoked{Runners: 1, Again: 1}, w.revoked("r"))
				require.Equal(t, ReasonHostRemoved, w.reason(job))
				w.refused(claim)
				left := 110 * time.Second // of 90 s and 30 s since the renewal
				if restart {
					require.NoError(t, w.store.Close())
					w = openWorld(t, w.dir)
					left = 120 * time.Second
					w.refused(claim)
				}
				w.run()
				w.refused(claim)
				require.Equal(t, Revoked{}, w.revoked("r"))
				time.Sleep(left - time.Second)
				synctest.Wait()
				_, found, err := w.Claim(t.Context(), w.manual("a").Token, true)
				require.NoError(t, err)
				require.False(t, found, "its first runner may still be running it")
				time.Sleep(2 * time.Second)
				synctest.Wait()
				require.Equal(t, StateQueued, w.state(job))
				again, found, err := w.Claim(t.Context(), w.manual("a").Token, true)
				require.NoError(t, err)
				require.True(t, found)
				require.Equal(t, 2, again.Attempt)
				w.refused(claim)
				require.NoError(t, w.Finish(t.Context(), again.LeaseToken, Result{Outcome: OutcomeSucceeded}))
			})
		})
	}
}

func TestARevokedClaimThatNeverBeganIsFreeAtOnce(t *testing.T) {
	w := newWorld(t)
	p := w.provisioner(GenerationHead)
	job := w.submit("a")
	_, _, activation := w.enrolled(p, w.poll(p, 1, "a").Reservations[0].ID, "r", "a")
	session, err := w.Register(t.Context(), activation.Reveal(), []string{"a"})
	require.NoError(t, err)
	claim, _, err := w.Claim(t.Context(), session.Token, true)
	require.NoError(t, err)
	require.Equal(t, Revoked{Runners: 1, Again: 1}, w.revoked("r"))
	require.Equal(t, StateQueued, w.state(job))
	w.refused(claim)
	_, _, err = w.Claim(t.Context(), session.Token, true)
	require.ErrorIs(t, err, ErrUnauthorized, "its session is over, too")
}

func TestRevokeIsOneWriteWithItsChoice(t *testing.T) {
	w := newWorld(t)
	p := w.provisioner(GenerationHead)
	job, claim := w.running(p, "r", JobSpec{}, true)
	broken := errors.New("no")
	_, err := w.Revoke(t.Context(), ReasonHostRemoved, func(tx *store.Tx) ([]string, error) {
		_, err := tx.Exec(`INSERT INTO settings (name, value) VALUES ('x', 'y')`)
		require.NoError(t, err)
		return []string{"r"}, broken
	})
	require.ErrorIs(t, err, broken)
	require.Equal(t, StateRunning, w.state(job))
	_, err = w.CheckLease(t.Context(), claim.LeaseToken)
	require.NoError(t, err)
	require.NoError(t, w.read(t.Context(), func(tx *tx) error {
		_, found, err := store.One(tx.Tx, store.Value[string], `SELECT value FROM settings WHERE name = 'x'`)
		require.False(t, found, "what the choice wrote is undone with it")
		return err
	}))
}

// revokeOne is a deed of random histories: the host of a runner is removed.
func (h *history) revokeOne() {
	r, ok := pick(h, h.runners)
	if !ok {
		return
	}
	h.revoked(r.id)
	h.retired[r.id] = true
	if r.lease != "" {
		h.refusedAfterRevoke(r)
	}
}

// refusedAfterRevoke checks that the lease stores nothing more; one that ended by
// its result before may be said again.
func (h *history) refusedAfterRevoke(r *actor) {
	before, err := h.Job(h.t.Context(), r.job)
	require.NoError(h.t, err)
	_, err = h.CheckLease(h.t.Context(), r.lease)
	require.ErrorIs(h.t, err, ErrLeaseEnded)
	_ = h.Finish(h.t.Context(), r.lease, Result{Outcome: OutcomeSucceeded})
	after, err := h.Job(h.t.Context(), r.job)
	require.NoError(h.t, err)
	require.Equal(h.t, before, after)
}
