package queue_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/queue/queuetest"
	"github.com/slipway-ci/slipway/internal/crashtest"
)

func TestMain(m *testing.M) {
	crashtest.Child(workUntilKilled)
	goleak.VerifyTestMain(m)
}

func TestAJobGoesItsWay(t *testing.T) {
	w := queuetest.New(t)
	ctx := t.Context()
	p := w.Provisioner(queue.GenerationHead)
	job, err := w.Submit(ctx, queue.JobSpec{Labels: []string{"Linux", "docker"}, Run: "make test\n", Env: map[string]string{"KEY": "value"}})
	require.NoError(t, err)
	require.Equal(t, []string{"docker", "linux"}, job.Labels)
	require.Equal(t, "make test", job.Name)
	require.Equal(t, time.Hour, job.Timeout)

	answer := w.Look(p, 3, "docker", "gpu", "linux")
	require.Len(t, answer.Reservations, 1)
	require.Equal(t, 1, answer.Reservations[0].Count)
	require.Equal(t, 1, answer.NewlyReserved)
	require.Equal(t, []queue.Stat{{Labels: job.Labels, Queued: 1, Reserved: 1, Oldest: job.QueuedAt}}, answer.Stats)
	require.Empty(t, w.Look(p, 3, "docker", "gpu", "linux").Reservations, "what is promised is not promised again")

	_, _, activation := w.Enrolled(p, answer.Reservations[0].ID, "box-1", "docker", "gpu", "linux")
	require.False(t, activation.IsZero(), "the runner was minted for a job: enrolment gives it out at once")
	claim := w.Claimed(activation, true, "docker", "gpu", "linux")
	require.Equal(t, job.ID, claim.JobID)

	leased, err := w.LeasedJob(ctx, claim.LeaseToken)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"KEY": "value"}, leased.Env)
	require.Equal(t, "make test\n", leased.Job.Run)
	renewal, err := w.Renew(ctx, claim.LeaseToken, job.ID)
	require.NoError(t, err)
	require.False(t, renewal.Cancel)

	code := 0
	result := queue.Result{Outcome: queue.OutcomeSucceeded, ExitCode: &code, LogBytes: 12}
	require.NoError(t, w.Finish(ctx, renewal.LeaseToken, result))
	require.NoError(t, w.Finish(ctx, claim.LeaseToken, queue.Result{Outcome: queue.OutcomeFailed}), "the same lease may send it again")
	done, err := w.Job(ctx, job.ID)
	require.NoError(t, err)
	require.Equal(t, queue.StateSucceeded, done.State, "the first result counts")
	require.Equal(t, &code, done.ExitCode)
	require.Equal(t, int64(12), done.LogBytes)
	require.Equal(t, []queue.State{queue.StateQueued, queue.StateReserved, queue.StateLaunched, queue.StateRunning, queue.StateSucceeded}, w.History(job))

	_, err = w.Renew(ctx, claim.LeaseToken, job.ID)
	require.ErrorIs(t, err, queue.ErrLeaseEnded)
	_, err = w.CheckLease(ctx, claim.LeaseToken)
	require.ErrorIs(t, err, queue.ErrLeaseEnded)
}

func TestAPromiseThatExpiresPutsTheJobBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := queuetest.New(t)
		w.Start()
		p := w.Provisioner(queue.GenerationERT)
		job := w.Add("a")
		answer := w.Look(p, 1, "a")
		require.Len(t, answer.Reservations, 1)
		time.Sleep(answer.Reservations[0].TTL - time.Millisecond)
		synctest.Wait()
		require.Equal(t, queue.StateReserved, w.StateOf(job))
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		require.Equal(t, queue.StateQueued, w.StateOf(job))
		_, err := w.MintTokens(t.Context(), p, answer.Reservations[0].ID, []string{"x"})
		require.ErrorIs(t, err, queue.ErrReservationExpired)
	})
}

func TestOneTokenOneWinner(t *testing.T) {
	for _, kind := range []string{"bootstrap", "ephemeral", "activation"} {
		t.Run(kind, func(t *testing.T) {
			w := queuetest.New(t)
			use := useOnce(w, kind)
			var wg sync.WaitGroup
			errs := make([]error, 100)
			for i := range errs {
				wg.Go(func() { errs[i] = use() })
			}
			wg.Wait()
			won := 0
			for _, err := range errs {
				if err == nil {
					won++
				}
			}
			require.Equal(t, 1, won, "a token of one use must have exactly one winner")
		})
	}
}

// useOnce returns the use of one fresh token.
func useOnce(w *queuetest.World, kind string) func() error {
	ctx := w.T.Context()
	switch kind {
	case "bootstrap":
		minted, err := w.Mint(ctx, w.Provisioner(queue.GenerationHead), []queue.InstanceRequest{{}})
		require.NoError(w.T, err)
		return func() error { _, err := w.Exchange(ctx, minted[0].Token.Reveal()); return err }
	case "ephemeral":
		p := w.Provisioner(queue.GenerationERT)
		w.Add("a")
		minted, err := w.MintTokens(ctx, p, w.Look(p, 1, "a").Reservations[0].ID, []string{"x"})
		require.NoError(w.T, err)
		return func() error { _, err := w.Register(ctx, minted[0].Token.Reveal(), []string{"a"}); return err }
	default:
		p := w.Provisioner(queue.GenerationHead)
		w.Add("a")
		_, _, activation := w.Enrolled(p, w.Look(p, 1, "a").Reservations[0].ID, "x", "a")
		return func() error { _, err := w.Register(ctx, activation.Reveal(), []string{"a"}); return err }
	}
}
