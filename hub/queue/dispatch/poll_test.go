package dispatch_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/queue/grant"
	"github.com/slipway-ci/slipway/hub/queue/ledger"
	"github.com/slipway-ci/slipway/hub/queue/queuetest"
)

func offer(free int, labels ...string) queue.PollRequest {
	return queue.PollRequest{Wait: 30 * time.Second, Max: 1000, Slots: []grant.Slots{{Key: "t", Labels: labels, Free: free}}}
}

func TestAPollIsWokenByTheEvent(t *testing.T) {
	for name, event := range map[string]func(*queuetest.World, queue.Provisioner){
		"a job is submitted": func(w *queuetest.World, _ queue.Provisioner) { w.Add("a") },
		"a promise to another is taken back": func(w *queuetest.World, other queue.Provisioner) {
			require.NoError(w.T, w.GiveBack(w.T.Context(), other, w.Look(other, 1, "b").Reservations))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := queuetest.New(t)
				p, other := w.Provisioner(queue.GenerationHead), w.Provisioner(queue.GenerationHead)
				w.Add("b") // for the other one
				answers := make(chan queue.PollAnswer, 1)
				began := time.Now()
				go func() {
					answer, err := w.Poll(t.Context(), p, offer(5, "a"))
					if err != nil {
						t.Error(err)
					}
					answers <- answer
				}()
				synctest.Wait()
				event(w, other)
				synctest.Wait()
				if name == "a job is submitted" {
					require.Len(t, (<-answers).Reservations, 1)
					require.Zero(t, time.Since(began), "no timer may be between a job and its poll")
					return
				}
				require.Empty(t, (<-answers).Reservations, "what it does not cover is not for it")
				require.Equal(t, 30*time.Second, time.Since(began))
			})
		})
	}
}

func TestAnExpiredPromiseWakesAPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := queuetest.New(t)
		w.Start()
		p, other := w.Provisioner(queue.GenerationHead), w.Provisioner(queue.GenerationHead)
		w.Add("a")
		req := offer(1, "a")
		req.TTL = 7 * time.Second
		lost, err := w.Poll(t.Context(), other, req)
		require.NoError(t, err)
		require.Len(t, lost.Reservations, 1)
		began := time.Now()
		answer, err := w.Poll(t.Context(), p, offer(1, "a"))
		require.NoError(t, err)
		require.Len(t, answer.Reservations, 1)
		require.InDelta(t, 7, time.Since(began).Seconds(), 0.1)
	})
}

// What is open is taken off the offer; once it is minted, the poll under way has
// the room that it offered.
func TestAMintWakesAPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := queuetest.New(t)
		p := w.Provisioner(queue.GenerationHead)
		w.Add("linux")
		first := w.Look(p, 1, "linux").Reservations[0]
		w.Add("linux")
		answers := make(chan queue.PollAnswer, 1)
		go func() {
			answer, _ := w.Poll(t.Context(), p, offer(1, "linux"))
			answers <- answer
		}()
		synctest.Wait()
		require.Empty(t, answers, "the one slot is promised already")
		began := time.Now()
		_, err := w.Mint(t.Context(), p, []queue.InstanceRequest{{Template: "t", Reservation: first.ID}})
		require.NoError(t, err)
		require.Len(t, (<-answers).Reservations, 1)
		require.Less(t, time.Since(began), time.Second)
	})
}

func TestAPollWhoseClientIsGoneKeepsNothing(t *testing.T) {
	w := queuetest.New(t)
	p := w.Provisioner(queue.GenerationHead)
	job := w.Add("a")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := w.Poll(ctx, p, offer(1, "a"))
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, queue.StateQueued, w.StateOf(job))
	answer := w.Look(p, 1, "a")
	require.Len(t, answer.Reservations, 1)
	require.NoError(t, w.GiveBack(t.Context(), p, answer.Reservations))
	require.Equal(t, queue.StateQueued, w.StateOf(job))
	require.Len(t, w.Look(p, 1, "a").Reservations, 1, "it is there for the next poll")
}

func TestAPollThatIsCancelledWhileItGrantsKeepsNothing(t *testing.T) {
	var cancel context.CancelFunc
	w := queuetest.New(t, func(c *queue.Config) {
		c.StorageFull = func() bool { // asked in the middle of a grant
			if cancel != nil {
				cancel()
			}
			return false
		}
	})
	p := w.Provisioner(queue.GenerationHead)
	job := w.Add("a")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	cancel = stop
	_, err := w.Poll(ctx, p, offer(1, "a"))
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, []queue.State{queue.StateQueued, queue.StateReserved, queue.StateQueued}, w.History(job), "it was granted, and given back")
}

// A stale advertisement must not book a slot twice.
func TestOpenPromisesTakeTheirSlots(t *testing.T) {
	w := queuetest.New(t)
	p := w.Provisioner(queue.GenerationHead)
	for range 6 {
		w.Add("a")
	}
	first := w.Look(p, 4, "a")
	require.Equal(t, 4, first.Reservations[0].Count)
	require.Empty(t, w.Look(p, 4, "a").Reservations, "the four are promised and not launched yet")
	_, err := w.Mint(t.Context(), p, []queue.InstanceRequest{{Reservation: first.Reservations[0].ID}, {Reservation: first.Reservations[0].ID}})
	require.NoError(t, err)
	require.Equal(t, 1, w.Look(p, 3, "a").Reservations[0].Count, "two are still open of three free slots")
}

func TestALabelSetThatFloodsStarvesNoOther(t *testing.T) {
	w := queuetest.New(t)
	p := w.Provisioner(queue.GenerationHead)
	for range 30 {
		w.Add("a")
	}
	late := w.Add("b")
	served := map[string]int{}
	for i := range 4 { // one slot, free again and again
		answer := w.Look(p, 1, "a", "b")
		require.Len(t, answer.Reservations, 1)
		served[strings.Join(answer.Reservations[0].Labels, ",")]++
		_, _, activation := w.Enrolled(p, answer.Reservations[0].ID, fmt.Sprint("x", i), "a", "b")
		claim := w.Claimed(activation, true, "a", "b")
		require.NoError(t, w.Finish(t.Context(), claim.LeaseToken, queue.Result{Outcome: queue.OutcomeSucceeded}))
	}
	require.Equal(t, map[string]int{"a": 3, "b": 1}, served)
	require.Equal(t, queue.StateSucceeded, w.StateOf(late))
}

func TestIdleRunnersComeFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := queuetest.New(t)
		w.Start()
		p := w.Provisioner(queue.GenerationHead)
		_, control, activation := w.Enrolled(p, "", "warm", "a", "b")
		require.True(t, activation.IsZero(), "no job waits")

		tokens := make(chan string, 1)
		began := time.Now()
		go func() {
			token, err := w.Assignment(t.Context(), control, 25*time.Second)
			if err != nil {
				t.Error(err)
			}
			tokens <- token.Reveal()
		}()
		synctest.Wait()
		job := w.Add("b")
		activated := <-tokens
		require.Zero(t, time.Since(began), "a warm runner gets the job at once, without a poll")
		require.Equal(t, queue.StateLaunched, w.StateOf(job))
		answer := w.Look(p, 5, "a", "b")
		require.Empty(t, answer.Reservations)
		require.Equal(t, 1, answer.NewlyReserved, "the provisioner is told that an idle one took it")
		require.Zero(t, w.Look(p, 5, "a", "b").NewlyReserved, "once")

		session, err := w.Register(t.Context(), activated, []string{"a", "b"})
		require.NoError(t, err)
		claim, found, err := w.Claim(t.Context(), session.Token, true)
		require.NoError(t, err)
		require.True(t, found)
		require.Equal(t, job.ID, claim.JobID)
	})
}

func TestAnIdleRunnerThatDoesNotComeIsToEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := queuetest.New(t)
		w.Start()
		p := w.Provisioner(queue.GenerationHead)
		_, control, _ := w.Enrolled(p, "", "warm", "a")
		job := w.Add("a")
		require.Equal(t, queue.StateLaunched, w.StateOf(job))
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		require.Equal(t, queue.StateQueued, w.StateOf(job))
		answer := w.Look(p, 0, "a")
		require.Len(t, answer.Terminate, 1)
		require.Equal(t, ledger.IntentActivation, answer.Terminate[0].Reason)
		token, err := w.Assignment(t.Context(), control, time.Second)
		require.NoError(t, err)
		require.True(t, token.IsZero())
	})
}

func TestARunnerThatFailedPutsItsJobBack(t *testing.T) {
	for _, g := range []queue.Generation{queue.GenerationHead, queue.GenerationERT} {
		t.Run(string(g), func(t *testing.T) {
			w := queuetest.New(t)
			p := w.Provisioner(g)
			job := w.Add("a")
			reservation := w.Look(p, 1, "a").Reservations[0].ID
			event := queue.RunnerEvent{ProviderID: "x", Labels: []string{"a"}, State: queue.RunnerFailed, At: time.Now()}
			if g == queue.GenerationHead {
				minted, err := w.Mint(t.Context(), p, []queue.InstanceRequest{{Reservation: reservation}})
				require.NoError(t, err)
				_, err = w.Attach(t.Context(), p, minted[0].ID, "x")
				require.NoError(t, err)
			} else {
				_, err := w.MintTokens(t.Context(), p, reservation, []string{"x"})
				require.NoError(t, err)
				event.Reservation = reservation
			}
			accepted, released, err := w.Report(t.Context(), p, []queue.RunnerEvent{event, event})
			require.NoError(t, err)
			require.Equal(t, []int{1, 1}, []int{accepted, released}, "two events of one runner are one, and free one unit")
			require.Equal(t, queue.StateQueued, w.StateOf(job))
			require.Len(t, w.Look(p, 1, "a").Reservations, 1, "and is granted again at once")
		})
	}
}

func TestReportsOnlyGoUp(t *testing.T) {
	early, late := time.Unix(100, 0), time.Unix(200, 0)
	for _, test := range []struct {
		next queue.RunnerState
		at   time.Time
		now  queue.RunnerState
		ok   bool
	}{
		{queue.RunnerRunning, early, queue.RunnerStarting, true},
		{queue.RunnerRunning, late, queue.RunnerStopped, false},
		{queue.RunnerFailed, early, queue.RunnerStopped, true},
		{queue.RunnerTerminated, early, queue.RunnerFailed, true},
		{queue.RunnerStopped, late, queue.RunnerTerminated, false},
		{queue.RunnerRunning, late, queue.RunnerRunning, true},
		{queue.RunnerRunning, early, queue.RunnerRunning, false},
	} {
		stored := time.Unix(150, 0)
		require.Equal(t, test.ok, ledger.Supersedes(test.next, test.at, test.now, stored), "%s at %d over %s", test.next, test.at.Unix(), test.now)
	}
}
