package seen

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/fleet"
)

// What lasts is written at once, but not again at once; the rest is taken with that of
// the others, once, unless it could not be written.
func TestABook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, full := New(), fleet.Disk{Free: 1, Total: 9}
		require.False(t, b.Note("a", Sighting{}), "nothing is known of what is written")
		b.Written("a", Sighting{Agent: "x", Version: "v1", Facts: &fleet.Facts{CPUs: 4}}, time.Now())
		require.True(t, b.Note("a", Sighting{Agent: "x", Version: "v1", Facts: &fleet.Facts{CPUs: 4, Disk: full}}), "the disk always changes")
		require.False(t, b.Note("a", Sighting{Agent: "y"}))
		require.False(t, b.Note("a", Sighting{Version: "v2"}))
		b.WrittenNow("a")
		require.True(t, b.Note("a", Sighting{Version: "v2"}), "it was written a moment ago")
		_, last := b.Last("a")
		require.Equal(t, Sighting{Version: "v2", Facts: &fleet.Facts{CPUs: 4, Disk: full}}, last)
		time.Sleep(factsSpacing)
		require.False(t, b.Note("a", Sighting{Version: "v3"}))

		news := b.Take()
		require.Equal(t, map[string]Sighting{"a": last}, news.Told)
		require.Equal(t, time.Now().Add(-factsSpacing), news.Seen["a"])
		require.Empty(t, b.Take().Told)
		b.Return(news)
		require.Equal(t, news, b.Take())
		b.Forget("a")
		b.Return(news)
		require.Empty(t, b.Take().Seen)
	})
}

func TestOfOneHostFewEventsAreTold(t *testing.T) {
	b := New()
	b.Alive("a")
	told := ""
	for range MostTold + 3 {
		told += fmt.Sprintln(b.Tell("a"))
	}
	require.Equal(t, 3, b.Take().Untold["a"], told)
	require.True(t, b.Tell("a"), "from then on it gets more")
	require.True(t, b.Tell("another"))
}
