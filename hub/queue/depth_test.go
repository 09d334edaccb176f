package queue

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDepth(t *testing.T) {
	w := newWorld(t)
	depth, err := w.Depth(t.Context())
	require.NoError(t, err)
	require.Equal(t, Depth{}, depth)
	first := w.submit("linux")
	w.submit("linux")
	require.Eventually(t, func() bool {
		depth, err = w.Depth(t.Context())
		return err == nil && depth.Oldest > 0
	}, 5*time.Second, time.Millisecond)
	require.Equal(t, 2, depth.Queued)
	_, err = w.Cancel(t.Context(), first.ID)
	require.NoError(t, err)
	depth, err = w.Depth(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, depth.Queued)
}
