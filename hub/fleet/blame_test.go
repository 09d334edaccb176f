package fleet_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/memory"
	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/internal/wire"
)

// A host where runners start and come to nothing waits by itself, with that template
// alone, while the others go on; that another one starts there is no proof, that one
// has a job is.
func TestACrashIsHeldAgainstItsHost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, fleet.Config{}, memory.Config{Behaviour: func(backend.Spec) memory.Program { return memory.Program{} }}, "a", "b")
		w.startAll()
		on := func(template, host string) string {
			for {
				id := w.launched(of(template, func(s *backend.Spec) { s.ID = newID() }))
				if at, _ := w.onEngine(id); at == host {
					return id
				}
			}
		}
		first, second := on("small", "a"), on("small", "a")
		w.after(time.Second)
		require.True(t, w.Crashed(first, "exit-code: 1"))
		require.Contains(t, w.why("small", "a"), "backing off")
		require.Contains(t, w.why("small", "a"), "exit-code: 1")
		for range 4 {
			at, _ := w.onEngine(w.launched(of("small")))
			require.Equal(t, "b", at, "the other goes on")
		}
		on("other", "a") // another template is not meant
		require.True(t, w.Crashed(second, "exit-code: 1"))
		w.after(1300 * time.Millisecond)
		require.NotContains(t, w.why("small", "a"), "backing off", "one that was launched before the first crash was known tells nothing new")

		probe := on("small", "a")
		w.after(time.Second)
		require.Contains(t, w.why("small", "a"), "backing off", "one at a time, until it has come to something")
		require.True(t, w.Crashed(probe, "exit-code: 1"))
		w.after(1500 * time.Millisecond)
		require.Contains(t, w.why("small", "a"), "backing off", "the pause grows")
		w.after(time.Second)

		probe = on("small", "a")
		w.Proved(probe)
		require.NotContains(t, w.why("small", "a"), "backing off")
		on("small", "a")
		on("small", "a")
		require.False(t, w.Crashed("unknown", "exit-code: 1"))
	})
}

// A host where runners vanish is found when they are gone, for a while, and by whose
// they were.
func TestARunnerThatIsGoneIsHeldAgainstItsHost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, fleet.Config{}, memory.Config{}, "a")
		p := w.readyPeer("a")
		p.obey(func(wire.Frame) bool { return true })
		mine, others := w.View("mine"), w.View("others")
		vanish := func() string {
			s := of("small", func(s *backend.Spec) { s.ID = newID() })
			require.NoError(t, mine.Launch(t.Context(), s))
			p.say(`{"type":"changes","epoch":%d,"changes":{"gone":[%q]}}`, p.epoch, s.ID)
			synctest.Wait()
			require.Empty(t, w.shown(s.ID))
			return s.ID
		}
		first := vanish()
		w.after(time.Second)
		require.False(t, others.Crashed(first, "disappeared"), "another's runner is none")
		require.True(t, mine.Crashed(first, "disappeared: after 1ms, without a job"))
		require.Contains(t, w.why("small", "a"), "backing off: disappeared: after 1ms")
		w.after(2 * time.Second)
		second := vanish()
		mine.Proved(first)
		require.NotEmpty(t, w.Explain("small")[0].LastFailure, "it was launched before")
		mine.Proved(second)
		require.Empty(t, w.Explain("small")[0].LastFailure)

		w.after(5 * time.Minute)
		require.False(t, mine.Crashed(second, "disappeared"), "it is forgotten")
		third := vanish()
		require.NoError(t, w.Forget("a", true))
		require.True(t, mine.Crashed(third, "disappeared"), "nobody waits for a host that is forgotten")
	})
}

// What of the room is different is a reason to look again: a host that is cordoned, one
// that says it is full, and that the time is over for which it is left alone.
func TestRoomThatChangesIsAReasonToLookAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var fails atomic.Pointer[error]
		w := newWorld(t, fleet.Config{}, memory.Config{Behaviour: func(backend.Spec) memory.Program {
			if err := fails.Load(); err != nil {
				return memory.Program{Err: *err}
			}
			return memory.Program{}
		}}, "a")
		w.startAll()
		told := make(chan int, 1000) // the room, whenever there is a reason to look at it
		watching, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			_ = w.Watch(watching, func() {
				if room, err := w.Capacity(watching, []backend.Spec{of("small")}); err == nil {
					told <- room[0]
				}
			})
		}()
		sees := func(why string, want int) {
			t.Helper()
			synctest.Wait()
			last := -1
			for len(told) > 0 {
				last = <-told
			}
			require.Equal(t, want, last, why)
		}
		sees("at first", 20)
		require.NoError(t, w.Cordon("a", true))
		sees("cordoned", 0)
		require.NoError(t, w.Cordon("a", false))
		sees("uncordoned", 20)
		for _, err := range []error{backend.ErrExhausted, backend.ErrInvalid} {
			fails.Store(&err)
			require.Error(t, w.Launch(t.Context(), spec(newID())))
			sees("it is left alone", 0)
			w.after(1300 * time.Millisecond)
			sees("its pause is over", 1)
			fails.Store(nil)
			id := w.launch()
			require.NoError(t, w.Remove(t.Context(), id))
			sees("it was proven wrong", 20)
		}
		id := w.launch()
		require.True(t, w.Crashed(id, "exit-code: 1"))
		sees("its runner has crashed", 0)
		w.after(1300 * time.Millisecond)
		sees("its pause is over", 1)
	})
}
