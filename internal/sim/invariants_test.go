package sim_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/internal/sim"
	"github.com/slipway-ci/slipway/template"
)

// able is a world where everything works.
func able(templates ...template.Template) sim.Setup {
	return sim.Setup{
		Seed: 1, Templates: templates, Announce: true, Facts: true, Retire: true, Warm: true, Hints: true, Prepare: true,
	}
}

func kind(key string, most int, labels ...string) template.Template {
	return template.Template{Key: key, Labels: labels, Image: "image-" + key, CPU: 1, Memory: 1 << 30, MaxConcurrency: most}
}

var errNoAnswer = errors.New("no answer")

// within waits until done says yes.
func within(t *testing.T, w *sim.World, d time.Duration, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(d); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Errorf("not within %s: %s\n%s", d, what, w.Transcript())
			return
		}
		if len(w.Broken()) > 0 {
			return // said at the end of the test
		}
	}
}

func TestInvariant01OneRegistrationOneRunner(t *testing.T) {
	for name, fate := range map[string]sim.Fate{
		"it started and the answer was lost":        {Err: errNoAnswer},
		"it never started and the answer was lost":  {Err: errNoAnswer, Effect: sim.Never},
		"it starts after the answer was lost":       {Err: errNoAnswer, Effect: sim.Late, Delay: 40 * time.Second},
		"it starts after it was given up":           {Err: errNoAnswer, Effect: sim.Late, Delay: 4 * time.Minute},
		"it started and the call hangs":             {Hang: true},
		"it was made, not started, and all is lost": {Err: errNoAnswer, Half: true},
	} {
		t.Run(name, func(t *testing.T) {
			setup := able(kind("a", 2, "linux"))
			setup.Script = func(op, _ string, n int) *sim.Fate {
				if op == "launch" && n < 2 {
					return &fate
				}
				return nil
			}
			live(t, setup, func(w *sim.World) {
				w.Submit(20*time.Second, "linux")
				w.Submit(20*time.Second, "linux")
				within(t, w, 10*time.Minute, "both jobs are done", w.Done)
				assert.NoError(t, w.Settle(20*time.Minute))
			})
		})
	}
}

func TestWhatEndsBeforeItIsSeenIsRemoved(t *testing.T) {
	setup := able(kind("a", 1, "linux"))
	setup.Hints = false
	setup.Script = func(op, _ string, n int) *sim.Fate {
		switch {
		case op == "launch" && n == 0: // long after it was given up
			return &sim.Fate{Err: errNoAnswer, Effect: sim.Late, Delay: 4 * time.Minute}
		case op == "list":
			return &sim.Fate{Before: 12 * time.Second}
		}
		return nil
	}
	setup.Habit = func(_ string, n int) sim.Habit { return []sim.Habit{sim.Honest, sim.Quit}[min(n, 1)] }
	live(t, setup, func(w *sim.World) {
		w.Submit(time.Second, "linux")
		within(t, w, 6*time.Minute, "another one does the job, and the first comes", func() bool { return w.Done() && len(w.Started("a")) == 2 })
		assert.NoError(t, w.Settle(5*time.Minute))
	})
}

func TestAnOldRegistrationIsThrownAway(t *testing.T) {
	setup := able(kind("a", 1, "linux"))
	setup.Registrations = 5 * time.Second
	setup.Script = func(op, _ string, n int) *sim.Fate {
		if op == "announce" && n < 2 {
			return &sim.Fate{Before: 8 * time.Second}
		}
		return nil
	}
	live(t, setup, func(w *sim.World) {
		w.Submit(time.Second, "linux")
		within(t, w, 10*time.Minute, "another one serves", w.Done)
		assert.NoError(t, w.Settle(10*time.Minute))
	})
}

func TestInvariant02NeverMoreThanMaxConcurrency(t *testing.T) {
	a := kind("a", 3, "linux")
	a.MinIdle, a.TargetConcurrency = 2, 2
	setup := able(a)
	setup.Script = func(op, _ string, n int) *sim.Fate {
		switch {
		case op == "launch" && n%3 == 0:
			return &sim.Fate{After: 12 * time.Second}
		case op == "launch" && n%3 == 1:
			return &sim.Fate{Err: errNoAnswer}
		case op == "list" && n%2 == 0:
			return &sim.Fate{After: 9 * time.Second}
		}
		return nil
	}
	live(t, setup, func(w *sim.World) {
		for range 20 {
			w.Submit(15*time.Second, "linux")
		}
		most := 0
		within(t, w, 20*time.Minute, "20 jobs are done", func() bool {
			most = max(most, w.Count("a").Live)
			return w.Done()
		})
		assert.Equal(t, 3, most, "all of the room is used, and no more")
	})
}

func TestInvariant02AdoptionFindsTooMany(t *testing.T) {
	live(t, able(kind("a", 5, "linux")), func(w *sim.World) {
		for range 5 {
			w.Submit(2*time.Minute, "linux")
		}
		within(t, w, time.Minute, "5 are busy", func() bool { return w.Count("a").Busy == 5 })
		w.SetTemplates(kind("a", 3, "linux"))
		w.Life().Kill()
		for range 4 {
			w.Submit(10*time.Second, "linux")
		}
		time.Sleep(time.Minute)
		assert.Equal(t, 5, w.Count("a").Busy, "those that were found go on")
		assert.Len(t, w.Started("a"), 5, "and nothing is launched beside them")
		within(t, w, 5*time.Minute, "the rest is done", w.Done)
	})
}

func TestInvariant03UnknownIsNotEmpty(t *testing.T) {
	a := kind("a", 4, "linux")
	a.MaxLifetime = 10 * time.Minute
	setup := able(a)
	setup.Hosts = []int{2, 4}
	setup.Habit = func(_ string, n int) sim.Habit {
		if n < 2 {
			return sim.Outlive // longer than its life
		}
		return sim.Honest
	}
	live(t, setup, func(w *sim.World) {
		w.Submit(time.Minute, "linux")
		w.Submit(time.Minute, "linux")
		within(t, w, time.Minute, "2 are busy", func() bool { return w.Count("a").Busy == 2 })
		w.SetOnline(0, false) // one of them is there, the placement is round robin
		for range 6 {
			w.Submit(20*time.Second, "linux")
		}
		time.Sleep(12 * time.Minute)
		assert.True(t, w.Done(), "the other host does the work")
		assert.Equal(t, 1, w.Count("a").Live, "the one that can't be seen is left alone, the other's life was over")
		assert.Equal(t, 3, w.Free("a"), "and it holds its slot")
		w.SetOnline(0, true)
		within(t, w, time.Minute, "its life is over", func() bool { return w.Count("a").Live == 0 })
	})
}

func TestInvariant03NothingKnownNothingLaunched(t *testing.T) {
	setup := able(kind("a", 4, "linux"))
	live(t, setup, func(w *sim.World) {
		within(t, w, time.Minute, "there is room", func() bool { return w.Free("a") == 4 && w.Ready() })
		w.SetOnline(0, false)
		time.Sleep(15 * time.Second)
		w.Submit(10*time.Second, "linux")
		time.Sleep(5 * time.Minute)
		assert.Zero(t, w.Free("a"), "what can't be observed has no room")
		assert.False(t, w.Ready())
		assert.Empty(t, w.Started("a"))
		w.SetOnline(0, true)
		within(t, w, 90*time.Second, "it is asked again, with back-off", w.Done)
	})
}

func TestInvariant04OthersAreNotTouched(t *testing.T) {
	setup := able(kind("a", 3, "linux"))
	setup.Plane.Twist, setup.Engine.Twist = 1, 1 // every answer names runners of others
	live(t, setup, func(w *sim.World) {
		for range 5 {
			w.Submit(5*time.Second, "linux")
		}
		within(t, w, 20*time.Minute, "the jobs are done", w.Done)
		w.Calm()
		assert.NoError(t, w.Settle(10*time.Minute)) // it counts them
	})
}

func TestInvariant05BusyOnesAreNotRetired(t *testing.T) {
	setup := able(kind("a", 2, "linux"))
	setup.Limits.MaxLifetime = 20 * time.Minute
	setup.Script = func(op, _ string, n int) *sim.Fate {
		switch {
		case op == "facts":
			return &sim.Fate{After: 8 * time.Second} // by then they are old
		case op == "retire" && n == 0:
			return &sim.Fate{Err: errNoAnswer}
		case op == "retire":
			return &sim.Fate{Before: 4 * time.Second}
		}
		return nil
	}
	live(t, setup, func(w *sim.World) {
		for i := range 20 { // two runners for one job: the other one is surplus
			n := w.Submit(time.Second, "linux")
			w.Submit(time.Second, "linux")
			within(t, w, time.Minute, "two come", func() bool { return w.Count("a").Live == 2 })
			w.Cancel(n)
			time.Sleep(time.Duration(55+i) * time.Second) // about when it is retired it gets a job
			w.Submit(2*time.Minute, "linux")
			within(t, w, 10*time.Minute, "the jobs are done", w.Done)
			within(t, w, 5*time.Minute, "nothing is left", func() bool { return w.Count("a").Live == 0 })
		}
		for n := range 60 {
			assert.LessOrEqual(t, w.Tries(n), 1, "job %d lost its runner", n)
		}
	})
}

func TestInvariant05UnknownIsNoReason(t *testing.T) {
	a := kind("a", 2, "linux")
	a.MinIdle, a.RegistrationDeadline = 1, 20*time.Second
	setup := able(a)
	setup.Facts = false
	live(t, setup, func(w *sim.World) {
		time.Sleep(2*time.Minute + 40*time.Second)
		assert.Len(t, w.Started("a"), 1, "nobody knows whether it registered, or has a job")
	})
}

func TestInvariant05WithoutRetireNothingRunningIsEnded(t *testing.T) {
	for name, habit := range map[string]sim.Habit{"idle": sim.Honest, "never registers": sim.Mute} {
		t.Run(name, func(t *testing.T) {
			setup := able(kind("a", 2, "linux"))
			setup.Retire, setup.Limits.MaxLifetime = false, 2*time.Minute
			setup.Habit = func(string, int) sim.Habit { return habit }
			live(t, setup, func(w *sim.World) {
				n := w.Submit(time.Second, "linux")
				within(t, w, time.Minute, "a runner", func() bool { return w.Count("a").Live == 1 })
				w.Cancel(n)
				time.Sleep(time.Minute + 40*time.Second)
				assert.Equal(t, 1, w.Count("a").Live, "nobody made sure that it gets no job")
				within(t, w, 3*time.Minute, "its life is over", func() bool { return w.Count("a").Live == 0 })
			})
		})
	}
}

func TestInvariant05OldLooksEndNothing(t *testing.T) {
	for name, launch := range map[string]*sim.Fate{
		"last seen starting":      nil,
		"uncertain and not seen":  {Err: errNoAnswer, Before: time.Second},
		"the call is still there": {After: 25 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			setup, launched, looks := able(kind("a", 2, "linux")), false, 0
			setup.Script = func(op, _ string, _ int) *sim.Fate {
				switch {
				case op == "launch":
					launched = true
					return launch
				case op == "list" && launched:
					if looks++; looks > 1 && looks < 30 || launch != nil && looks == 1 {
						return &sim.Fate{Effect: sim.Never, Err: errNoAnswer}
					}
					return &sim.Fate{}
				}
				return nil
			}
			live(t, setup, func(w *sim.World) {
				w.Submit(8*time.Minute, "linux")
				within(t, w, time.Hour, "the job is done", w.Done)
				assert.Equal(t, 1, w.Tries(0), "a failed look ended its runner")
			})
		})
	}
}

func TestInvariant05NeverRegistered(t *testing.T) {
	setup := able(kind("a", 1, "linux"))
	setup.Habit = func(_ string, n int) sim.Habit {
		if n == 0 {
			return sim.Mute
		}
		return sim.Honest
	}
	live(t, setup, func(w *sim.World) {
		w.Submit(10*time.Second, "linux")
		within(t, w, 5*time.Minute, "the mute one is retired at its deadline, and the job has another", w.Done)
	})
}

func TestInvariant06And07SlotsAreFreedByTheEnd(t *testing.T) {
	for name, hints := range map[string]bool{"with hints": true, "by the slow tick": false} {
		t.Run(name, func(t *testing.T) {
			setup := able(kind("a", 1, "linux"))
			setup.Hints = hints
			live(t, setup, func(w *sim.World) {
				for range 6 {
					w.Submit(10*time.Second, "linux")
				}
				turn := 20 * time.Second // 10 s of work, up to 7 s to start and register, and a second
				if !hints {
					turn += 12 * time.Second
				}
				within(t, w, 6*turn, "6 jobs went through one slot", w.Done)
			})
		})
	}
}

func TestInvariant07AskedToEndIsNotEnded(t *testing.T) {
	live(t, able(kind("a", 1, "linux")), func(w *sim.World) {
		for range 10 { // they take up to 8 s to end: the checker sees the overlap
			n := w.Submit(time.Hour, "linux")
			within(t, w, time.Minute, "it is busy", func() bool { return w.Count("a").Busy == 1 })
			w.Submit(time.Second, "linux") // waits for the slot
			w.Cancel(n)
			within(t, w, time.Minute, "it has it", w.Done)
		}
	})
}

func TestInvariant08ARestartAtAnyCall(t *testing.T) {
	for at := 1; at <= 90; at++ {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			t.Parallel()
			a := kind("a", 2, "linux")
			a.MinIdle = 1
			setup := able(a, kind("b", 1, "gpu"))
			setup.Limits.MaxLifetime, setup.KillAt = 6*time.Minute, at
			live(t, setup, func(w *sim.World) {
				w.Submit(5*time.Second, "linux")
				w.Submit(3*time.Second, "gpu")
				time.Sleep(2 * time.Second)
				w.Submit(4*time.Second, "linux")
				within(t, w, 8*time.Minute, "the jobs are done", w.Done)
				assert.NoError(t, w.Settle(15*time.Minute))
			})
		})
	}
}

func TestInvariant08ARestartMakesNobodyYounger(t *testing.T) {
	setup := able(kind("a", 1, "linux"))
	setup.Limits.MaxLifetime = 10 * time.Minute
	setup.Habit = func(string, int) sim.Habit { return sim.Outlive }
	live(t, setup, func(w *sim.World) {
		w.Submit(time.Second, "linux")
		within(t, w, time.Minute, "it lives", func() bool { return w.Count("a").Live == 1 })
		for range 4 {
			time.Sleep(2 * time.Minute)
			w.Life().Kill()
		}
		within(t, w, 3*time.Minute, "its life is over", func() bool { return w.Count("a").Live == 0 })
	})
}

func TestInvariant10SecretsOfErrors(t *testing.T) {
	const echo = "bearer sf_rbt_echoed-by-a-bird-in-the-mine was seen"
	setup := able(kind("a", 2, "linux"))
	setup.Script = func(op, _ string, n int) *sim.Fate {
		switch {
		case op == "launch" && n < 2:
			return &sim.Fate{Effect: sim.Never, Err: fmt.Errorf("%w: %s", backend.ErrInvalid, echo)}
		case op == "launch" && n < 3:
			return &sim.Fate{Effect: sim.Never, Err: errors.New(echo)}
		case n%3 == 0:
			return &sim.Fate{Effect: sim.Never, Err: errors.New(echo)}
		}
		return nil
	}
	live(t, setup, func(w *sim.World) { // the checker reads log, events, labels, health and state
		w.Submit(5*time.Second, "linux")
		w.Submit(5*time.Second, "linux")
		within(t, w, 30*time.Minute, "the jobs are done", w.Done)
	})
}
