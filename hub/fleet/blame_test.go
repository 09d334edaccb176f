package fleet_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/memory"
	"github.com/slipway-ci/slipway/hub/fleet"
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
