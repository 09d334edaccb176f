package fleet_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/memory"
	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/internal/wire"
)

// A back-off is a template's on a host, though each runner has a command of its
// own; an edit of the template begins anew.
func TestABackOffIsATemplatesOnAHost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var tries atomic.Int64
		w := newWorld(t, fleet.Config{}, memory.Config{Behaviour: func(s backend.Spec) memory.Program {
			if s.Image == "bad" {
				tries.Add(1)
				return memory.Program{Err: backend.ErrInvalid}
			}
			return memory.Program{}
		}}, "a")
		w.startAll()
		bad := func(i int) backend.Spec {
			return of("broken", func(s *backend.Spec) {
				s.ID, s.Image, s.Command = newID(), "bad", []string{fmt.Sprint("registration-", i)}
			})
		}
		for i := range 100 {
			require.Error(t, w.Launch(t.Context(), bad(i)))
			require.Equal(t, 20, w.room(of("fine")), "the others are not held up")
			w.after(time.Second)
		}
		require.Less(t, tries.Load(), int64(15), "the pause grows")
		require.Greater(t, tries.Load(), int64(3))
		require.Contains(t, w.refused(bad(0)), "1 backing off")
		require.Contains(t, w.why("broken", "a"), "backing off: host a: ")
		require.Zero(t, w.room(bad(0)))
		w.launched(of("broken"))
		require.Equal(t, 19, w.room(of("broken")), "another image is another try")
	})
}

// What a host refused by its own policy is told, with its time, when it is tried again,
// too; until that agent comes back, which may have another policy.
func TestARefusalStaysVisible(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var refuses atomic.Bool
		refuses.Store(true)
		w := newWorld(t, fleet.Config{}, memory.Config{Behaviour: func(backend.Spec) memory.Program {
			if refuses.Load() {
				return memory.Program{Err: fmt.Errorf("privileged runners: %w", backend.ErrRefused)}
			}
			return memory.Program{}
		}}, "a")
		w.startAll()
		last := func() (string, time.Duration) {
			v := w.Explain("small")[0]
			return v.LastFailure, time.Since(v.FailedAt)
		}
		try := func() error { return w.Launch(t.Context(), of("small", func(s *backend.Spec) { s.ID = newID() })) }
		require.ErrorIs(t, try(), backend.ErrRefused)
		w.after(time.Minute)
		require.Empty(t, w.why("small", "a"), "it may try again")
		words, age := last()
		require.Contains(t, words, "privileged runners")
		require.Equal(t, time.Minute, age)

		w.nodes["a"].stop()
		w.after(time.Second)
		words, _ = last()
		require.NotEmpty(t, words, "offline, and nothing is known to be different")
		w.nodes["a"].start()
		w.after(3 * time.Second)
		words, _ = last()
		require.Empty(t, words)

		require.ErrorIs(t, try(), backend.ErrRefused)
		refuses.Store(false)
		w.after(time.Minute)
		require.NoError(t, try())
		words, _ = last()
		require.Empty(t, words)
	})
}

// What keeps a template from a host is told when it begins, be it that a launch failed
// or only what it needs: no runner ends of that, which would tell it.
func TestABackOffIsToldOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var fails atomic.Bool
		fails.Store(true)
		var mu sync.Mutex
		var told []string
		sessions := func(e fleet.SessionEvent) {
			if e.Kind == fleet.BackedOff {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, e.Host+" "+e.Template+": "+e.Reason)
			}
		}
		w := newWorld(t, fleet.Config{Sessions: sessions}, memory.Config{Pull: func(image string) (time.Duration, error) {
			if fails.Load() {
				return time.Millisecond, fmt.Errorf("image %s is not allowed: %w", image, backend.ErrRefused)
			}
			return time.Millisecond, nil
		}}, "a")
		w.startAll()
		evil := of("small", func(s *backend.Spec) { s.ID, s.Env, s.Image = "", nil, "evil:1" })
		for range 10 {
			require.Error(t, w.Prepare(t.Context(), evil))
			w.after(10 * time.Second)
		}
		want := "a small: host a: "
		mu.Lock()
		require.Len(t, told, 1, "a repeat says nothing new")
		require.Contains(t, told[0], want)
		require.Contains(t, told[0], "image evil:1 is not allowed")
		mu.Unlock()
		require.False(t, w.Explain("small")[0].FailedAt.IsZero())

		fails.Store(false)
		w.after(10 * time.Minute)
		w.launched(evil)
		fails.Store(true)
		require.Error(t, w.Prepare(t.Context(), of("small", func(s *backend.Spec) { s.ID, s.Env, s.Image = "", nil, "evil:2" })))
		w.after(time.Second)
		mu.Lock()
		defer mu.Unlock()
		require.Len(t, told, 2, "it begins anew")
	})
}

// A host that says itself that it has no room has not failed.
func TestNoRoomIsNoFailure(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var asked atomic.Int64
		w := newWorld(t, fleet.Config{}, memory.Config{Hosts: []memory.Host{{Room: 1}}, Fault: func(c memory.Call) memory.Fault {
			if c.Op == memory.OpLaunch {
				asked.Add(1)
			}
			return memory.Fault{}
		}}, "a")
		w.startAll()
		first := w.launch()
		require.Contains(t, w.refused(of("small")), "no room", "the host's own word")
		for range 60 {
			w.after(time.Second)
			w.refused(of("small"))
		}
		require.Less(t, asked.Load(), int64(15), "it is not asked each time")
		require.Contains(t, w.why("small", "a"), "out of room by its own word")
		require.Empty(t, w.host("a").BackingOff)
		require.NotContains(t, w.log.String(), "backs off")
		require.True(t, w.nodes["a"].engine.Exit(first, 0))
		w.after(2 * time.Second)
		w.launch()
	})
	bubble(t, func(t *testing.T) {
		var full atomic.Bool
		full.Store(true)
		w := newWorld(t, fleet.Config{}, memory.Config{Pull: func(string) (time.Duration, error) {
			if full.Load() {
				return time.Millisecond, fmt.Errorf("the disk is full: %w", backend.ErrExhausted)
			}
			return time.Millisecond, nil
		}}, "a")
		w.startAll()
		require.ErrorIs(t, w.Prepare(t.Context(), of("small")), backend.ErrExhausted)
		require.Empty(t, w.host("a").BackingOff, "nor is that of a Prepare")
		require.NotContains(t, w.log.String(), "backs off")
		full.Store(false)
		w.after(31 * time.Second)
		require.NoError(t, w.Prepare(t.Context(), of("small")))
		w.launch()
	})
}

// A host that accepts and never replies costs the others nothing: 60 launches
// elsewhere take as long as without it, and so do lists, room and removals.
func TestAPassOverTheOthersIsNotHeldUp(t *testing.T) {
	pass := func(t *testing.T, stuck bool) (took time.Duration, spread string) {
		bubble(t, func(t *testing.T) {
			slow := memory.Config{Fault: func(c memory.Call) memory.Fault {
				if c.Op == memory.OpLaunch {
					return memory.Fault{Before: 50 * time.Millisecond}
				}
				return memory.Fault{}
			}}
			w := newWorld(t, fleet.Config{}, slow, "a", "b", "c", "d")
			w.nodes["a"].start()
			w.nodes["b"].start()
			w.nodes["c"].start()
			w.after(time.Second)
			answers := make(chan error, 200)
			if stuck { // d takes its launches, and is never heard of again but for its heartbeats
				w.readyPeer("d").obey(func(wire.Frame) bool { return false })
			}
			began := time.Now()
			require.NoError(t, w.Prepare(t.Context(), of("small")), "nor is that")
			launched := 0
			for launched < 60 {
				for range 4 {
					go func() { answers <- w.Launch(t.Context(), of("small", func(s *backend.Spec) { s.ID = newID() })) }()
				}
				w.after(60 * time.Millisecond)
				for len(answers) > 0 {
					if err := <-answers; err == nil {
						launched++
					}
				}
				at := time.Now()
				w.list()
				w.room(of("small"))
				w.Explain("small")
				require.Equal(t, at, time.Now())
			}
			took = time.Since(began)
			spread, _, _ = strings.Cut(w.spread(), "d")
		})
		return took, spread
	}
	without, even := pass(t, false)
	with, uneven := pass(t, true)
	require.LessOrEqual(t, with, 2*without)
	require.Equal(t, "a20 b20 c20 ", even)
	require.Equal(t, even, uneven)
}
