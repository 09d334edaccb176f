package memory_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/memory"
)

// always makes every runner follow one program.
func always(p memory.Program) func(backend.Spec) memory.Program {
	return func(backend.Spec) memory.Program { return p }
}

// on makes every call of op go wrong in one way.
func on(op memory.Op, fault memory.Fault) func(memory.Call) memory.Fault {
	return func(call memory.Call) memory.Fault {
		if call.Op == op {
			return fault
		}
		return memory.Fault{}
	}
}

// states lists, and tells id and state of each runner.
func states(t *testing.T, b backend.Backend) map[string]backend.State {
	t.Helper()
	listing, err := b.List(t.Context())
	require.NoError(t, err)
	told := map[string]backend.State{}
	for _, r := range listing.Runners {
		told[r.ID] = r.State
	}
	return told
}

func launch(t *testing.T, b backend.Backend, ids ...string) {
	t.Helper()
	for _, id := range ids {
		require.NoError(t, b.Launch(t.Context(), backend.Spec{ID: id}))
	}
}

func TestAProgramFollowsTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var ends []time.Duration
		engine := memory.New(memory.Config{
			Hosts:     []memory.Host{{Skew: time.Hour}},
			Behaviour: always(memory.Program{Start: 2 * time.Second, Run: time.Minute, ExitCode: 3, Error: "no space left"}),
			Observe: func(event memory.Event) {
				if event.Kind == memory.Ended {
					ends = append(ends, event.At.Sub(began))
				}
			},
		})
		b := engine.Backend("us")
		launch(t, b, "a")
		require.Equal(t, backend.Starting, states(t, b)["a"])
		require.Equal(t, began.Add(2*time.Second), engine.NextChange())
		time.Sleep(2 * time.Second)
		require.Equal(t, backend.Running, states(t, b)["a"])
		time.Sleep(time.Minute - 1)
		require.Equal(t, backend.Running, states(t, b)["a"])
		time.Sleep(time.Hour) // nobody looks meanwhile
		listing, err := b.List(t.Context())
		require.NoError(t, err)
		code, skewed := 3, began.Add(time.Hour)
		require.Equal(t, []backend.Runner{{
			ID: "a", State: backend.Failed, ExitCode: &code, Error: "no space left",
			Created: skewed, Started: skewed.Add(2 * time.Second), Finished: skewed.Add(62 * time.Second),
		}}, listing.Runners)
		require.Equal(t, []time.Duration{62 * time.Second}, ends, "the end is observed with the time at which it was due")
		require.True(t, engine.NextChange().IsZero())
	})
}

func TestFaultsOfALaunch(t *testing.T) {
	lost := errors.New("connection reset")
	for _, c := range []struct {
		name   string
		fault  memory.Fault
		err    error
		took   time.Duration
		exists bool
		late   bool
	}{
		{name: "none", exists: true},
		{name: "slow", fault: memory.Fault{Before: 5 * time.Second}, took: 5 * time.Second, exists: true},
		{name: "too slow", fault: memory.Fault{Before: time.Minute}, err: context.DeadlineExceeded, took: 10 * time.Second},
		{name: "answer too slow", fault: memory.Fault{After: time.Minute}, err: context.DeadlineExceeded, took: 10 * time.Second, exists: true},
		{name: "fails", fault: memory.Fault{Err: backend.ErrExhausted}, err: backend.ErrExhausted},
		{name: "answer lost", fault: memory.Fault{Err: lost, Applied: true}, err: lost, exists: true},
		{name: "hangs", fault: memory.Fault{Hang: true}, err: context.DeadlineExceeded, took: 10 * time.Second},
		{name: "hangs after", fault: memory.Fault{Hang: true, Applied: true}, err: context.DeadlineExceeded, took: 10 * time.Second, exists: true},
		{name: "late", fault: memory.Fault{Err: lost, Applied: true, Late: time.Minute}, err: lost, late: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				engine := memory.New(memory.Config{Fault: on(memory.OpLaunch, c.fault)})
				b := engine.Backend("us")
				began := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				require.ErrorIs(t, b.Launch(ctx, backend.Spec{ID: "a"}), c.err)
				require.Equal(t, c.took, time.Since(began))
				_, exists := states(t, b)["a"]
				require.Equal(t, c.exists, exists)
				time.Sleep(time.Minute)
				_, exists = states(t, b)["a"]
				require.Equal(t, c.exists || c.late, exists)
			})
		})
	}
}

func TestALateLaunchComesAfterItsRemoval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine := memory.New(memory.Config{Fault: on(memory.OpLaunch, memory.Fault{Err: context.Canceled, Applied: true, Late: time.Minute})})
		b := engine.Backend("us")
		require.Error(t, b.Launch(t.Context(), backend.Spec{ID: "a"}))
		require.NoError(t, b.Remove(t.Context(), "a"))
		require.Empty(t, states(t, b))
		time.Sleep(time.Minute)
		require.Equal(t, map[string]backend.State{"a": backend.Running}, states(t, b))
		require.NoError(t, b.Remove(t.Context(), "a"))
		require.Empty(t, states(t, b))
	})
}

func TestAHalfMadeRunnerIsFinishedByTheNextLaunch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var first atomic.Bool
		first.Store(true)
		var kinds []memory.Kind
		engine := memory.New(memory.Config{
			Fault: func(call memory.Call) memory.Fault {
				if call.Op == memory.OpLaunch && first.Swap(false) {
					return memory.Fault{Hang: true, Applied: true, Half: true}
				}
				return memory.Fault{}
			},
			Observe: func(event memory.Event) { kinds = append(kinds, event.Kind) },
		})
		b := engine.Backend("us")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, b.Launch(ctx, backend.Spec{ID: "a"}), context.DeadlineExceeded)
		time.Sleep(time.Hour)
		require.Equal(t, backend.Starting, states(t, b)["a"])
		launch(t, b, "a")
		require.Equal(t, backend.Running, states(t, b)["a"])
		require.ErrorIs(t, b.Launch(t.Context(), backend.Spec{ID: "a"}), backend.ErrExists)
		require.Equal(t, []memory.Kind{memory.Created, memory.Launched}, kinds)
	})
}

func TestHostsVanishAndReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine := memory.New(memory.Config{
			Hosts:     []memory.Host{{Name: "a", Room: 2}, {Name: "b", Room: 1}},
			Behaviour: always(memory.Program{Run: time.Minute}),
		})
		b := engine.Backend("us")
		room := func() int {
			free, err := backend.Capacity(t.Context(), b, []backend.Spec{{}})
			require.NoError(t, err)
			return free[0]
		}
		require.Equal(t, 3, room())
		launch(t, b, "1", "2", "3")
		require.ErrorIs(t, b.Launch(t.Context(), backend.Spec{ID: "4"}), backend.ErrExhausted)
		require.Equal(t, 0, room())

		engine.SetOnline("a", false)
		listing, err := b.List(t.Context())
		require.NoError(t, err)
		require.Len(t, listing.Runners, 3)
		for _, r := range listing.Runners {
			require.Equal(t, r.Host == "a", r.State == backend.Unknown, "%+v", r)
		}
		lost := listing.Runners[0].ID
		require.Equal(t, "a", listing.Runners[0].Host)
		require.Error(t, b.Remove(t.Context(), lost))
		require.False(t, backend.IsDefinite(b.Launch(t.Context(), backend.Spec{ID: lost})), "it may well run there")

		time.Sleep(time.Minute) // all end, the unseen ones too
		require.Equal(t, 1, room(), "the other host serves on")
		launch(t, b, "5")
		require.ErrorIs(t, b.Launch(t.Context(), backend.Spec{ID: "6"}), backend.ErrExhausted)
		require.Equal(t, backend.Unknown, states(t, b)[lost])
		engine.SetOnline("b", false)
		require.ErrorIs(t, b.Launch(t.Context(), backend.Spec{ID: "7"}), backend.ErrUnavailable)

		engine.SetOnline("a", true)
		require.Equal(t, backend.Exited, states(t, b)[lost])
		require.Equal(t, 2, room())
	})
}

func TestAStoppingRunnerHoldsItsSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine := memory.New(memory.Config{
			Hosts:     []memory.Host{{Room: 1}},
			Behaviour: always(memory.Program{Stop: 10 * time.Second}),
		})
		b := engine.Backend("us")
		launch(t, b, "a")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, b.Remove(ctx, "a"), context.DeadlineExceeded)
		require.Equal(t, backend.Stopping, states(t, b)["a"])
		require.ErrorIs(t, b.Launch(t.Context(), backend.Spec{ID: "b"}), backend.ErrExhausted)

		began := time.Now()
		require.NoError(t, b.Remove(t.Context(), "a"))
		require.Equal(t, 9*time.Second, time.Since(began), "the process takes 10 s from when it was first asked")
		require.Empty(t, states(t, b))
		launch(t, b, "b")
	})
}

func TestWatchWakesAtWhatHappensByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine := memory.New(memory.Config{Behaviour: always(memory.Program{Start: time.Second, Run: time.Minute})})
		b := engine.Backend("us")
		began := time.Now()
		var wakes []time.Duration
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			ended <- b.Watch(ctx, func() { wakes = append(wakes, time.Since(began)) })
		}()
		synctest.Wait()
		time.Sleep(time.Second)
		launch(t, b, "a")
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Equal(t, []time.Duration{0, time.Second, 2 * time.Second, 62 * time.Second}, wakes)
		cancel()
		require.ErrorIs(t, <-ended, context.Canceled)

		go func() { ended <- b.Watch(t.Context(), func() {}) }()
		synctest.Wait()
		engine.SetOnline("", false)
		require.ErrorIs(t, <-ended, backend.ErrUnavailable, "a watch breaks with its engine")
	})
}

func TestOnePullServesAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pulls := map[string]int{}
		engine := memory.New(memory.Config{Pull: func(image string) (time.Duration, error) {
			pulls[image]++
			if pulls[image] == 1 && image == "flaky" {
				return 0, fmt.Errorf("registry: too many requests: %w", backend.ErrInvalid)
			}
			return time.Minute, nil
		}})
		b := engine.Backend("us")
		began := time.Now()
		prepared := make(chan error)
		for range 5 {
			go func() { prepared <- b.Prepare(t.Context(), backend.Spec{Image: "alpine"}) }()
		}
		for range 5 {
			require.NoError(t, <-prepared)
		}
		require.NoError(t, b.Launch(t.Context(), backend.Spec{ID: "a", Image: "alpine"}))
		require.Equal(t, time.Minute, time.Since(began))
		require.ErrorIs(t, b.Launch(t.Context(), backend.Spec{ID: "b", Image: "flaky"}), backend.ErrInvalid)
		require.NoError(t, b.Launch(t.Context(), backend.Spec{ID: "b", Image: "flaky"}))
		require.Equal(t, map[string]int{"alpine": 1, "flaky": 2}, pulls)
	})
}

func TestObserveSeesEveryInstant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		live, most := 0, 0
		var told []string
		engine := memory.New(memory.Config{
			Hosts: []memory.Host{{Room: 2}},
			Behaviour: func(spec backend.Spec) memory.Program {
				return memory.Program{Run: map[string]time.Duration{"1": 3 * time.Second, "2": 2 * time.Second}[spec.ID]}
			},
			Observe: func(event memory.Event) {
				switch event.Kind {
				case memory.Launched:
					live++
				case memory.Ended:
					live--
				}
				most = max(most, live)
				told = append(told, string(event.Kind)+" "+event.Owner+" "+event.Spec.ID+" "+event.Spec.Env["SECRET"]+string(event.Runner.State))
			},
		})
		us, them := engine.Backend("us"), engine.Backend("them")
		require.NoError(t, us.Launch(t.Context(), backend.Spec{ID: "1", Env: map[string]string{"SECRET": "s "}}))
		launch(t, them, "2")
		time.Sleep(time.Minute)
		launch(t, us, "3", "4")
		require.True(t, engine.Kill("3"))
		require.False(t, engine.Kill("3"), "it has ended")
		require.True(t, engine.Starve("4"))
		require.NoError(t, us.Remove(t.Context(), "3"))
		require.True(t, engine.Lose("4"))
		require.False(t, engine.Exit("4", 0))
		require.Equal(t, 2, most)
		require.Equal(t, []string{
			"launched us 1 s running", "launched them 2 running",
			"ended them 2 exited", "ended us 1 s exited",
			"launched us 3 running", "launched us 4 running",
			"ended us 3 failed", "ended us 4 failed",
			"removed us 3 failed", "removed us 4 failed",
		}, told)
		require.Len(t, engine.Truth(), 2)
	})
}

// Many at once never take more than a host's room, at any instant.
func TestRoomIsKeptUnderPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		live := map[string]int{}
		rooms := map[string]int{"a": 3, "b": 2}
		most := map[string]int{}
		engine := memory.New(memory.Config{
			Hosts:     []memory.Host{{Name: "a", Room: 3}, {Name: "b", Room: 2}},
			Behaviour: always(memory.Program{Start: time.Second, Run: 3 * time.Second, Stop: time.Second}),
			Fault: func(call memory.Call) memory.Fault {
				return memory.Fault{Before: time.Duration(len(call.ID)) * 300 * time.Millisecond, After: 500 * time.Millisecond}
			},
			Observe: func(event memory.Event) {
				switch event.Kind {
				case memory.Launched:
					live[event.Runner.Host]++
				case memory.Ended:
					live[event.Runner.Host]--
				}
				most[event.Runner.Host] = max(most[event.Runner.Host], live[event.Runner.Host])
			},
		})
		b := engine.Backend("us")
		done := make(chan int)
		const workers = 20
		for w := range workers {
			go func() {
				launched := 0
				for i := range 20 {
					id := fmt.Sprintf("%0*d", 1+w%5, w*100+i)
					if b.Launch(t.Context(), backend.Spec{ID: id}) == nil {
						launched++
						time.Sleep(time.Second)
						_ = b.Remove(t.Context(), id)
					}
				}
				done <- launched
			}()
		}
		launched := 0
		for range workers {
			launched += <-done
		}
		require.Greater(t, launched, 20)
		require.Equal(t, rooms, most, "all of it is used, and no more")
	})
}
