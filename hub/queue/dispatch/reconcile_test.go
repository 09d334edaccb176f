package dispatch_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/queue/queuetest"
)

func TestReconcileEndsWhoIsAbsentForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := queuetest.New(t)
		p := w.Provisioner(queue.GenerationERT)
		w.Add("a")
		running := w.Add("a")
		reservation := w.Look(p, 2, "a").Reservations[0].ID
		minted, err := w.MintTokens(t.Context(), p, reservation, []string{"here", "gone"})
		require.NoError(t, err)
		report := func(id string) {
			_, _, err := w.Report(t.Context(), p, []queue.RunnerEvent{{ProviderID: id, Reservation: reservation, Labels: []string{"a"}, State: queue.RunnerRunning, At: time.Now()}})
			require.NoError(t, err)
		}
		report("here")
		report("gone")
		session, err := w.Register(t.Context(), minted[1].Token.Reveal(), []string{"a"})
		require.NoError(t, err)
		claim, _, err := w.Claim(t.Context(), session.Token, true)
		require.NoError(t, err)
		require.Equal(t, running.ID, claim.JobID)

		views, absent, err := w.Reconcile(t.Context(), p, []string{"gone", "unknown", "here"})
		require.NoError(t, err)
		require.Empty(t, absent)
		require.Equal(t, []string{"gone", "unknown", "here"}, []string{views[0].ProviderID, views[1].ProviderID, views[2].ProviderID})
		require.Equal(t, running.ID, views[0].Job.ID)
		require.Equal(t, session.ID, views[0].Session)
		require.Equal(t, queue.RunnerView{ProviderID: "unknown"}, views[1])
		require.False(t, views[0].Terminate || views[2].Terminate)

		time.Sleep(2*time.Minute - time.Second)
		_, absent, err = w.Reconcile(t.Context(), p, []string{"here"})
		require.NoError(t, err)
		require.Empty(t, absent, "it was reported less than two minutes ago")
		time.Sleep(2 * time.Second)
		report("here")
		_, absent, err = w.Reconcile(t.Context(), p, nil)
		require.NoError(t, err)
		require.Empty(t, absent, "an empty list ends nobody")
		_, absent, err = w.Reconcile(t.Context(), p, []string{"here"})
		require.NoError(t, err)
		require.Equal(t, []string{"gone"}, absent)
		require.Equal(t, queue.StateRunning, w.StateOf(running), "a job hangs on its lease, not on what its provisioner sees")
		require.NoError(t, w.Finish(t.Context(), claim.LeaseToken, queue.Result{Outcome: queue.OutcomeSucceeded}))

		views, _, err = w.Reconcile(t.Context(), p, []string{"gone"})
		require.NoError(t, err)
		require.True(t, views[0].Terminate, "an ended runner is to end")
		require.Nil(t, views[0].Job)
	})
}
