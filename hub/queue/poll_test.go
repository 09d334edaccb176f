package queue

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/queue/grant"
	"github.com/slipway-ci/slipway/hub/store"
)

func offer(free int, labels ...string) PollRequest {
	return PollRequest{Wait: 30 * time.Second, Max: 1000, Slots: []grant.Slots{{Key: "t", Labels: labels, Free: free}}}
}

func TestAPollIsWokenByTheEvent(t *testing.T) {
	for name, event := range map[string]func(*world, Provisioner){
		"a job is submitted": func(w *world, _ Provisioner) { w.submit("a") },
		"a promise to another is taken back": func(w *world, other Provisioner) {
			require.NoError(w.t, w.GiveBack(w.t.Context(), other, w.poll(other, 1, "b").Reservations))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				p, other := w.provisioner(GenerationHead), w.provisioner(GenerationHead)
				w.submit("b") // for the other one
				answers := make(chan PollAnswer, 1)
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
		w := newWorld(t)
		w.run()
		p, other := w.provisioner(GenerationHead), w.provisioner(GenerationHead)
		w.submit("a")
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
		w := newWorld(t)
		p := w.provisioner(GenerationHead)
		w.submit("linux")
		first := w.poll(p, 1, "linux").Reservations[0]
		w.submit("linux")
		answers := make(chan PollAnswer, 1)
		go func() {
			answer, _ := w.Poll(t.Context(), p, offer(1, "linux"))
			answers <- answer
		}()
		synctest.Wait()
		require.Empty(t, answers, "the one slot is promised already")
		began := time.Now()
		_, err := w.Mint(t.Context(), p, []InstanceRequest{{Template: "t", Reservation: first.ID}})
		require.NoError(t, err)
		require.Len(t, (<-answers).Reservations, 1)
		require.Less(t, time.Since(began), time.Second)
	})
}

func TestAPollWhoseClientIsGoneKeepsNothing(t *testing.T) {
	w := newWorld(t)
	p := w.provisioner(GenerationHead)
	job := w.submit("a")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := w.Poll(ctx, p, offer(1, "a"))
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, StateQueued, w.state(job))
	answer := w.poll(p, 1, "a")
	require.Len(t, answer.Reservations, 1)
	require.NoError(t, w.GiveBack(t.Context(), p, answer.Reservations))
	require.Equal(t, StateQueued, w.state(job))
	require.Len(t, w.poll(p, 1, "a").Reservations, 1, "it is there for the next poll")
}

func TestAPollThatIsCancelledWhileItGrantsKeepsNothing(t *testing.T) {
	var cancel context.CancelFunc
	w := newWorld(t, func(c *Config) {
		c.StorageFull = func() bool { // asked in the middle of a grant
			if cancel != nil {
				cancel()
			}
			return false
		}
	})
	p := w.provisioner(GenerationHead)
	job := w.submit("a")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	cancel = stop
	_, err := w.Poll(ctx, p, offer(1, "a"))
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, []State{StateQueued, StateReserved, StateQueued}, w.history(job), "it was granted, and given back")
}

// A stale advertisement must not book a slot twice.
func TestOpenPromisesTakeTheirSlots(t *testing.T) {
	w := newWorld(t)
	p := w.provisioner(GenerationHead)
	for range 6 {
		w.submit("a")
	}
	first := w.poll(p, 4, "a")
	require.Equal(t, 4, first.Reservations[0].Count)
	require.Empty(t, w.poll(p, 4, "a").Reservations, "the four are promised and not launched yet")
	_, err := w.Mint(t.Context(), p, []InstanceRequest{{Reservation: first.Reservations[0].ID}, {Reservation: first.Reservations[0].ID}})
	require.NoError(t, err)
	require.Equal(t, 1, w.poll(p, 3, "a").Reservations[0].Count, "two are still open of three free slots")
}

func TestALabelSetThatFloodsStarvesNoOther(t *testing.T) {
	w := newWorld(t)
	p := w.provisioner(GenerationHead)
	for range 30 {
		w.submit("a")
	}
	late := w.submit("b")
	served := map[string]int{}
	for i := range 4 { // one slot, free again and again
		answer := w.poll(p, 1, "a", "b")
		require.Len(t, answer.Reservations, 1)
		served[strings.Join(answer.Reservations[0].Labels, ",")]++
		_, _, activation := w.enrolled(p, answer.Reservations[0].ID, fmt.Sprint("x", i), "a", "b")
		claim := w.claimed(activation, true, "a", "b")
		require.NoError(t, w.Finish(t.Context(), claim.LeaseToken, Result{Outcome: OutcomeSucceeded}))
	}
	require.Equal(t, map[string]int{"a": 3, "b": 1}, served)
	require.Equal(t, StateSucceeded, w.state(late))
}

func TestIdleRunnersComeFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run()
		p := w.provisioner(GenerationHead)
		_, control, activation := w.enrolled(p, "", "warm", "a", "b")
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
		job := w.submit("b")
		activated := <-tokens
		require.Zero(t, time.Since(began), "a warm runner gets the job at once, without a poll")
		require.Equal(t, StateLaunched, w.state(job))
		answer := w.poll(p, 5, "a", "b")
		require.Empty(t, answer.Reservations)
		require.Equal(t, 1, answer.NewlyReserved, "the provisioner is told that an idle one took it")
		require.Zero(t, w.poll(p, 5, "a", "b").NewlyReserved, "once")

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
		w := newWorld(t)
		w.run()
		p := w.provisioner(GenerationHead)
		_, control, _ := w.enrolled(p, "", "warm", "a")
		job := w.submit("a")
		require.Equal(t, StateLaunched, w.state(job))
		time.Sleep(activationGrace + time.Second)
		synctest.Wait()
		require.Equal(t, StateQueued, w.state(job))
		answer := w.poll(p, 0, "a")
		require.Len(t, answer.Terminate, 1)
		require.Equal(t, intentActivation, answer.Terminate[0].Reason)
		token, err := w.Assignment(t.Context(), control, time.Second)
		require.NoError(t, err)
		require.True(t, token.IsZero())
	})
}

func TestARunnerThatFailedPutsItsJobBack(t *testing.T) {
	for _, g := range []Generation{GenerationHead, GenerationERT} {
		t.Run(string(g), func(t *testing.T) {
			w := newWorld(t)
			p := w.provisioner(g)
			job := w.submit("a")
			reservation := w.poll(p, 1, "a").Reservations[0].ID
			event := RunnerEvent{ProviderID: "x", Labels: []string{"a"}, State: RunnerFailed, At: time.Now()}
			if g == GenerationHead {
				minted, err := w.Mint(t.Context(), p, []InstanceRequest{{Reservation: reservation}})
				require.NoError(t, err)
				_, err = w.Attach(t.Context(), p, minted[0].ID, "x")
				require.NoError(t, err)
			} else {
				_, err := w.MintTokens(t.Context(), p, reservation, []string{"x"})
				require.NoError(t, err)
				event.Reservation = reservation
			}
			accepted, released, err := w.Report(t.Context(), p, []RunnerEvent{event, event})
			require.NoError(t, err)
			require.Equal(t, []int{1, 1}, []int{accepted, released}, "two events of one runner are one, and free one unit")
			require.Equal(t, StateQueued, w.state(job))
			require.Len(t, w.poll(p, 1, "a").Reservations, 1, "and is granted again at once")
		})
	}
}

func TestReportsOnlyGoUp(t *testing.T) {
	early, late := time.Unix(100, 0), time.Unix(200, 0)
	for _, test := range []struct {
		next RunnerState
		at   time.Time
		now  RunnerState
		ok   bool
	}{
		{RunnerRunning, early, RunnerStarting, true},
		{RunnerRunning, late, RunnerStopped, false},
		{RunnerFailed, early, RunnerStopped, true},
		{RunnerTerminated, early, RunnerFailed, true},
		{RunnerStopped, late, RunnerTerminated, false},
		{RunnerRunning, late, RunnerRunning, true},
		{RunnerRunning, early, RunnerRunning, false},
	} {
		stored := time.Unix(150, 0)
		require.Equal(t, test.ok, supersedes(test.next, test.at, test.now, stored), "%s at %d over %s", test.next, test.at.Unix(), test.now)
	}
}

// The counts per label set are kept by triggers; they must be what counting says.
func (w *world) checkCounts() {
	w.t.Helper()
	require.NoError(w.t, w.read(w.t.Context(), func(tx *tx) error {
		wrong, err := store.All(tx.Tx, store.Value[string], `SELECT label_set FROM label_sets s WHERE
			queued <> (SELECT count(*) FROM jobs j WHERE j.label_set = s.label_set AND j.state = 'queued') OR
			reserved <> (SELECT count(*) FROM jobs j WHERE j.label_set = s.label_set AND j.state IN ('reserved', 'launched')) OR
			running <> (SELECT count(*) FROM jobs j WHERE j.label_set = s.label_set AND j.state = 'running')`)
		require.Empty(w.t, wrong)
		return err
	}))
}
