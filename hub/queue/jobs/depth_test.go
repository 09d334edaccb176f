package jobs_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/queue/queuetest"
)

func TestDepth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := queuetest.New(t)
		depth, err := w.Depth(t.Context())
		require.NoError(t, err)
		require.Equal(t, queue.Depth{}, depth)
		first := w.Add("linux")
		w.Add("linux")
		time.Sleep(time.Second)
		depth, err = w.Depth(t.Context())
		require.NoError(t, err)
		require.Equal(t, time.Second, depth.Oldest)
		require.Equal(t, 2, depth.Queued)
		_, err = w.Cancel(t.Context(), first.ID)
		require.NoError(t, err)
		depth, err = w.Depth(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, depth.Queued)
	})
}
