package fleet_test

import (
	"io/fs"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/memory"
	"github.com/slipway-ci/slipway/hub/fleet"
)

func TestViewsShareHostsAndNoRunners(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := fleet.NewMemoryStore()
		w := newWorld(t, fleet.Config{Store: store}, memory.Config{}, "a")
		w.startAll()
		queue, other := w.View("queue"), w.View("shipfox")
		mine, theirs := of("small"), of("small")
		mine.ID, theirs.ID = newID(), newID()
		require.NoError(t, queue.Launch(t.Context(), mine))
		require.NoError(t, other.Launch(t.Context(), theirs))
		nobodys := w.launch()
		check := func() {
			t.Helper()
			for view, want := range map[*fleet.View]string{queue: mine.ID, other: theirs.ID} {
				listing, err := view.List(t.Context())
				require.NoError(t, err)
				require.Len(t, listing.Runners, 1)
				require.Equal(t, want, listing.Runners[0].ID)
				require.Equal(t, map[string]string{"template": "small"}, listing.Runners[0].Labels, "as they were launched")
			}
			require.Len(t, w.list(), 3)
			require.Equal(t, "queue", w.shown(mine.ID).Labels[fleet.LabelPlane])
		}
		check()
		host, ok := w.HostOf(mine.ID)
		require.True(t, ok)
		require.Equal(t, "a", host)
		_, ok = w.HostOf(newID())
		require.False(t, ok)

		room, err := queue.Capacity(t.Context(), []backend.Spec{of("small")})
		require.NoError(t, err)
		require.Equal(t, []int{17}, room, "room is shared")
		for _, id := range []string{theirs.ID, nobodys} {
			require.NoError(t, queue.Remove(t.Context(), id), "another's runner is none")
			_, err = queue.Logs(t.Context(), id, 0)
			require.ErrorIs(t, err, fs.ErrNotExist)
		}
		require.ErrorIs(t, queue.Launch(t.Context(), theirs), backend.ErrInvalid)
		check()

		// The label outlives the hub, with its records and without.
		for _, store := range []fleet.Store{store, fleet.NewMemoryStore()} {
			w.restart(fleet.Config{Store: store})
			queue, other = w.View("queue"), w.View("shipfox")
			w.nodes["a"].start()
			w.after(time.Second)
			check()
		}
		require.NoError(t, queue.Remove(t.Context(), mine.ID))
		require.Len(t, w.list(), 2)
	})
}
