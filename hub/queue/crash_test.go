package queue_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/queue/queuetest"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/hub/store/storetest"
	"github.com/slipway-ci/slipway/internal/crashtest"
	"github.com/slipway-ci/slipway/tokens"
)

// workUntilKilled submits, claims and finishes jobs, and says what it was promised
// after the promise.
func workUntilKilled(dir string) {
	ctx := context.Background()
	s, err := store.Open(ctx, store.Config{Dir: dir})
	crashtest.Must(err)
	q, err := queue.New(ctx, queue.Config{Store: s, LeaseTTL: 60 * time.Millisecond, LeaseGrace: 20 * time.Millisecond, RenewInterval: 20 * time.Millisecond})
	crashtest.Must(err)
	go func() { crashtest.Must(q.Run(ctx)) }()
	_, secret, err := q.CreateToken(ctx, queue.TokenSpec{Kind: tokens.ManualRegistration})
	crashtest.Must(err)
	for range 4 {
		go func() {
			for {
				job, err := q.Submit(ctx, queue.JobSpec{Labels: []string{"a"}, Run: "true", Retries: queue.MaxRetries})
				crashtest.Must(err)
				crashtest.Say("submitted", job.ID, 0)
			}
		}()
		go work(ctx, q, secret)
	}
	select {}
}

// work is a runner that claims and finishes; one job in ten it forgets.
func work(ctx context.Context, q *queue.Queue, secret tokens.Token) {
	session, err := q.Register(ctx, secret.Reveal(), []string{"a"})
	crashtest.Must(err)
	for {
		claim, found, err := q.Claim(ctx, session.Token, true)
		crashtest.Must(err)
		if !found {
			continue
		}
		crashtest.Say("claimed", claim.JobID, claim.Attempt)
		if rand.IntN(10) == 0 {
			continue
		}
		err = q.Finish(ctx, claim.LeaseToken, queue.Result{Outcome: queue.OutcomeSucceeded})
		if errors.Is(err, queue.ErrLeaseEnded) {
			continue
		}
		crashtest.Must(err)
		crashtest.Say("finished", claim.JobID, claim.Attempt)
	}
}

// TestKilledAtAnyMoment kills a hub again and again, and holds what it promised
// against what is there.
func TestKilledAtAnyMoment(t *testing.T) {
	dir := storetest.Dir(t)
	submitted, finished := map[string]bool{}, map[string]int{} // finished: by which attempt
	for round := range 8 {
		for _, line := range crashtest.Kill(t, dir, 20+rand.IntN(100)) {
			var (
				what, id string
				attempt  int
			)
			_, err := fmt.Sscan(line, &what, &id, &attempt)
			require.NoError(t, err, line)
			switch what {
			case "submitted":
				submitted[id] = true
			case "claimed":
				if finished[id] > 0 {
					require.Less(t, attempt, finished[id], "round %d: job %s finished and was given out again", round, id)
				}
			case "finished":
				require.Zero(t, finished[id], "round %d: job %s finished twice", round, id)
				finished[id] = attempt
			}
		}
	}
	require.NotEmpty(t, finished)
	w := queuetest.Open(t, dir)
	for id := range submitted {
		job, err := w.Job(t.Context(), id)
		require.NoError(t, err, "job %s was accepted and is lost", id)
		if finished[id] > 0 {
			require.Equal(t, queue.StateSucceeded, job.State, "job %s had finished", id)
		}
	}
	w.CheckCounts()
	w.CheckFinals()
	t.Logf("%d jobs accepted, %d finished", len(submitted), len(finished))
}
