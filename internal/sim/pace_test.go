package sim_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/internal/sim"
	"github.com/slipway-ci/slipway/provisioner"
)

func TestCrashesBackOff(t *testing.T) {
	for name, c := range map[string]struct {
		habit sim.Habit
		facts bool
	}{
		"exit code 1":                    {sim.Crash, true},
		"exit code 1, nothing known":     {sim.Crash, false},
		"exit code 0, known without job": {sim.Quit, true},
		"exit code 0, nothing known":     {sim.Quit, false},
		"started and never registers":    {sim.Mute, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			setup := able(kind("a", 5, "linux"), kind("b", 5, "gpu"))
			setup.Facts, setup.Limits.MaxLifetime = c.facts, 10*time.Minute
			healed := false
			setup.Habit = func(key string, _ int) sim.Habit {
				if key == "a" && !healed {
					return c.habit
				}
				return sim.Honest
			}
			live(t, setup, func(w *sim.World) {
				for range 30 {
					w.Submit(5*time.Second, "linux")
				}
				time.Sleep(10 * time.Second)
				for range 60 {
					n := w.Submit(5*time.Second, "gpu")
					time.Sleep(time.Minute)
					waited, ok := w.Waited(n)
					assert.True(t, ok && waited < 10*time.Second, "another template waits %s", waited)
				}
				backsOff(t, w)
				healed = true
				within(t, w, 8*time.Minute, "one good probe opens it again", func() bool { return w.Count("a").Live == 5 })
				within(t, w, 5*time.Minute, "the jobs are done", w.Done)
			})
		})
	}
}

// backsOff checks the starts of an hour in which nothing came of them.
func backsOff(t *testing.T, w *sim.World) {
	t.Helper()
	starts := w.Started("a")
	assert.LessOrEqual(t, len(starts), 40, "in an hour, from 1 s to 5 min: %s", starts)
	assert.GreaterOrEqual(t, len(starts), 10, "one probe at a time goes on")
	assert.LessOrEqual(t, w.Free("a"), 1, "one slot is advertised")
	late := starts[len(starts)-4:]
	for i := range late[1:] {
		gap := late[i+1] - late[i]
		assert.True(t, gap > 3*time.Minute && gap < 15*time.Minute, "the gap has grown to %s", gap)
	}
}

func TestCleanExitsWithAGrowingQueueAreNoCrash(t *testing.T) {
	for name, takes := range map[string]time.Duration{"long jobs": 40 * time.Second, "short jobs": 4 * time.Second} {
		t.Run(name, func(t *testing.T) {
			setup := able(kind("a", 2, "linux"))
			setup.Facts, setup.Prepare = false, false
			live(t, setup, func(w *sim.World) {
				for range 60 { // more than two runners can do
					for range 3 {
						w.Submit(takes, "linux")
					}
					time.Sleep(takes)
				}
				done := 0
				for n := range 180 {
					if _, ok := w.Waited(n); ok {
						done++
					}
				}
				assert.Greater(t, done, 40, "of which nothing is known but that they end with 0")
			})
		})
	}
}

func TestFailedOnesAreKeptWithinBounds(t *testing.T) {
	setup := able(kind("a", 1, "linux"))
	setup.Limits.FailedRetentionCount, setup.Limits.FailedRetention = 2, 40*time.Minute
	setup.Habit = func(string, int) sim.Habit { return sim.Die }
	live(t, setup, func(w *sim.World) {
		n := w.Submit(4*time.Second, "linux")
		within(t, w, 10*time.Minute, "it was tried 5 times", func() bool { return w.Tries(n) == 5 })
		w.Cancel(n)
		time.Sleep(time.Minute)
		assert.Equal(t, 2, w.Count("a").Ended, "the newest two are there")
		time.Sleep(36 * time.Minute)
		assert.Equal(t, 2, w.Count("a").Ended)
		within(t, w, 5*time.Minute, "and then they are not", func() bool { return w.Count("a").Ended == 0 })
	})
}

func TestFloors(t *testing.T) {
	a := kind("a", 6, "linux")
	a.MinIdle, a.TargetConcurrency = 2, 3
	setup := able(a)
	live(t, setup, func(w *sim.World) {
		idle := func(live, idle int) func() bool {
			return func() bool { c := w.Count("a"); return c.Live == live && c.Idle == idle }
		}
		within(t, w, time.Minute, "3 in all are there before any job", idle(3, 3))
		for range 3 {
			w.Submit(3*time.Minute, "linux")
		}
		within(t, w, 20*time.Second, "2 idle ones beside the busy ones", idle(5, 2))
		for range 3 {
			w.Submit(3*time.Minute, "linux")
		}
		within(t, w, 20*time.Second, "all are busy: the maximum counts more than the floor", idle(6, 0))
		time.Sleep(time.Minute)
		assert.Equal(t, 6, w.Count("a").Live)
		within(t, w, 4*time.Minute, "the jobs are done, and the floor is there", func() bool { return w.Done() && w.Count("a").Idle >= 3 })
		within(t, w, 80*time.Second, "and no more, an idle timeout later", idle(3, 3))
		time.Sleep(20 * time.Minute)
		within(t, w, 20*time.Second, "and stays, though runners lose patience", idle(3, 3))
	})
}

func TestScaleDown(t *testing.T) {
	a := kind("a", 5, "linux")
	a.MinIdle = 4
	live(t, able(a), func(w *sim.World) {
		within(t, w, time.Minute, "4 are idle", func() bool { return w.Count("a").Idle == 4 })
		a.MinIdle = 1
		w.Reload(a)
		within(t, w, 80*time.Second, "the rest is retired after the idle timeout", func() bool { return w.Count("a").Live == 1 })
		w.Reload(kind("b", 1, "gpu"))
		n := w.Submit(time.Second, "linux")
		time.Sleep(2 * time.Minute)
		waited, ok := w.Waited(n)
		assert.True(t, ok && waited < 10*time.Second, "the one of a template that went away still takes its job")
		assert.Zero(t, w.Count("a").Live, "and there comes no other")
	})
}

func TestFloorsAreIgnoredWithoutWarmRunners(t *testing.T) {
	a := kind("a", 6, "linux")
	a.MinIdle = 2
	setup := able(a)
	setup.Warm = false
	live(t, setup, func(w *sim.World) {
		time.Sleep(10 * time.Minute)
		assert.Empty(t, w.Started("a"))
		assert.LessOrEqual(t, w.Calls("mint"), 1, "it is asked once")
		w.Submit(time.Second, "linux")
		within(t, w, time.Minute, "what is granted is not in the way", w.Done)
	})
}

func TestTargets(t *testing.T) {
	setup := able(kind("a", 4, "linux"))
	setup.Levels = []string{"a"}
	held := false
	setup.Script = func(op, _ string, n int) *sim.Fate {
		if op == "poll" && held {
			return &sim.Fate{Before: 20 * time.Second} // the level is not told anew
		}
		return nil
	}
	live(t, setup, func(w *sim.World) {
		for range 3 {
			w.Submit(15*time.Second, "linux")
		}
		within(t, w, time.Minute, "3 are busy", func() bool { return w.Count("a").Busy == 3 })
		held = true
		within(t, w, time.Minute, "all are done", w.Done)
		time.Sleep(10 * time.Second)
		held = false
		assert.Len(t, w.Started("a"), 3, "a runner that ended after the level was read still counts towards it")
		for range 6 {
			w.Submit(15*time.Second, "linux")
		}
		within(t, w, time.Minute, "4 are busy, the maximum", func() bool { return w.Count("a").Busy == 4 })
		within(t, w, 2*time.Minute, "all are done", w.Done)
	})
}

func TestPollsAreSpaced(t *testing.T) {
	setup := able(kind("a", 2, "linux"))
	setup.Chatty, setup.Prepare = true, false
	live(t, setup, func(w *sim.World) {
		time.Sleep(10 * time.Minute)
		assert.InDelta(t, 120, w.Calls("poll"), 15, "every 5 s, once it has grown so far")
		n := w.Submit(time.Second, "linux")
		time.Sleep(30 * time.Second)
		waited, ok := w.Waited(n)
		assert.True(t, ok && waited < 14*time.Second, "%s", waited)
	})
}

func TestWhatFailsIsTriedAgain(t *testing.T) {
	for _, call := range []string{"mint", "announce", "launch", "poll", "list", "prepare", "capacity"} {
		t.Run(call, func(t *testing.T) {
			setup := able(kind("a", 2, "linux"))
			setup.Hosts, setup.Limits.LaunchParallelism = []int{2}, 1
			setup.Script = func(op, _ string, n int) *sim.Fate {
				if op == call && n == 0 {
					return &sim.Fate{Effect: sim.Never, Err: fmt.Errorf("%w: once", backend.ErrUnavailable)}
				}
				return nil
			}
			live(t, setup, func(w *sim.World) {
				w.Submit(time.Second, "linux")
				w.Submit(time.Second, "linux")
				within(t, w, time.Minute, "20 s for the image, twice 7 s to start, and a few to try again", w.Done)
			})
		})
	}
}

func TestAFreedSlotEndsTheWait(t *testing.T) {
	setup := able(kind("a", 1, "linux"), kind("b", 1, "gpu"))
	live(t, setup, func(w *sim.World) {
		w.Submit(40*time.Second, "linux")
		within(t, w, time.Minute, "a is full, b is free: the poll waits", func() bool { return w.Count("a").Busy == 1 && w.Free("b") == 1 && w.Free("a") == 0 })
		n := w.Submit(time.Second, "linux")
		before := w.Calls("poll")
		within(t, w, time.Minute, "the first is done", func() bool { return w.Count("a").Busy == 0 })
		within(t, w, 11*time.Second, "its slot is advertised at once: start and registration take up to 7 s", func() bool { _, ok := w.Waited(n); return ok })
		assert.LessOrEqual(t, w.Calls("poll")-before, 8)
	})
}

func TestAFullTemplateSpillsToTheNext(t *testing.T) {
	cheap, dear := kind("z-cheap", 2, "linux"), kind("a-dear", 2, "big", "linux")
	dear.CPU = 8
	live(t, able(dear, cheap), func(w *sim.World) {
		w.Submit(time.Minute, "linux")
		within(t, w, time.Minute, "the cheapest comes first", func() bool { return w.Count("z-cheap").Busy == 1 && w.Count("a-dear").Live == 0 })
		for range 3 {
			w.Submit(time.Minute, "linux")
		}
		within(t, w, 30*time.Second, "then the next", func() bool { return w.Count("z-cheap").Busy == 2 && w.Count("a-dear").Busy == 2 })
	})
}

func TestTwoLoopsOfOneOwner(t *testing.T) {
	setup := able(kind("a", 10, "linux"))
	synctest.Test(t, func(t *testing.T) {
		w := sim.NewWorld(setup)
		var lives sync.WaitGroup
		var all []*sim.Life
		loops := map[*sim.Life]*provisioner.Loop{}
		for range 2 {
			l, ctx := w.NewLife(t.Context())
			loop, err := provisioner.New(l.Config())
			require.NoError(t, err)
			loops[l], all = loop, append(all, l)
			lives.Go(func() { assert.NoError(t, loop.Run(ctx)) })
			time.Sleep(time.Second)
		}
		conflict := func() (n int) {
			for _, loop := range loops {
				if f := loop.Health().Facet(provisioner.FacetOwner); !f.OK && f.Reason == provisioner.ReasonOwnerConflict {
					n++
				}
			}
			return n
		}
		assert.Zero(t, conflict())
		before, quiet, longest, seen := []int{0, 0}, []int{0, 0}, 0, 0
		for range 90 {
			w.Submit(3*time.Second, "linux")
			time.Sleep(2 * time.Second)
			for i, l := range all {
				if quiet[i]++; l.Launches() != before[i] {
					before[i], quiet[i] = l.Launches(), 0
				}
				longest = max(longest, quiet[i])
			}
			seen = max(seen, conflict())
		}
		assert.Positive(t, seen, "both launch")
		assert.Greater(t, longest, 10, "after a minute of it one of the two gives way for a while")
		within(t, w, 15*time.Minute, "the jobs are done all the same", w.Done)
		all[1].Stop()
		delete(loops, all[1])
		within(t, w, 5*time.Minute, "with one left it is over", func() bool { return conflict() == 0 })
		all[0].Stop()
		lives.Wait()
		failed(t, w, setup)
	})
}

func TestStop(t *testing.T) {
	setup := able(kind("a", 4, "linux"))
	slow := false
	setup.Script = func(op, _ string, n int) *sim.Fate {
		switch {
		case op == "launch" && slow:
			return &sim.Fate{Before: 8 * time.Second, After: 8 * time.Second}
		case op == "report" && slow && n%2 == 0:
			return &sim.Fate{Effect: sim.Never, Err: errNoAnswer}
		}
		return nil
	}
	synctest.Test(t, func(t *testing.T) {
		w := sim.NewWorld(setup)
		l, ctx := w.NewLife(t.Context())
		loop, err := provisioner.New(l.Config())
		require.NoError(t, err)
		done := make(chan error, 1)
		go func() { done <- loop.Run(ctx) }()
		w.Submit(20*time.Minute, "linux")
		within(t, w, time.Minute, "busy", func() bool { return w.Count("a").Busy == 1 })
		slow = true
		w.Submit(5*time.Minute, "linux")
		within(t, w, time.Minute, "a launch is under way", func() bool { return w.Calls("launch") == 2 })
		began := time.Now()
		l.Stop()
		require.NoError(t, <-done)
		assert.InDelta(t, 16, time.Since(began).Seconds(), 3, "it ends when the launch was finished and told, not later")
		assert.Equal(t, 2, w.Count("a").Live)
		slow = false

		again, cancel := context.WithCancel(t.Context())
		var lives sync.WaitGroup
		lives.Go(func() { w.Supervise(again) })
		within(t, w, time.Hour, "the next life adopts them", w.Done)
		assert.Equal(t, []int{1, 1}, []int{w.Tries(0), w.Tries(1)})
		assert.Len(t, w.Started("a"), 2)
		cancel()
		lives.Wait()
		failed(t, w, setup)
	})
}

func TestReadinessIsTheAgeOfTheLastGoodPoll(t *testing.T) {
	live(t, able(kind("a", 1, "linux")), func(w *sim.World) {
		within(t, w, time.Minute, "all is well", w.Ready)
		w.Refuse(10 * time.Minute)
		time.Sleep(5 * time.Minute)
		assert.False(t, w.Ready(), "no poll was good for minutes")
		w.Submit(time.Second, "linux")
		within(t, w, 7*time.Minute, "the credential is accepted again, and so is the loop", func() bool { return w.Done() && w.Ready() })
	})
}
