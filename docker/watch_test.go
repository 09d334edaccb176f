package docker_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/docker"
	"github.com/slipway-ci/slipway/internal/enginetest"
)

// The engine tells of an end before its listings show it: whoever looks at each
// wake and at no other time must see it all the same, and soon.
func TestAnEndIsSeenByTheWakesAlone(t *testing.T) {
	enginetest.BusyboxImage(t)
	b, err := docker.New(docker.Config{Owner: enginetest.Owner(t), Network: "host", Host: enginetest.Host(t)})
	require.NoError(t, err)
	defer b.Close()
	ctx, stop := context.WithCancel(t.Context())
	wakes := make(chan struct{}, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- b.Watch(ctx, func() {
			select {
			case wakes <- struct{}{}:
			default:
			}
		})
	}()
	defer func() { stop(); <-ended }()
	for range 5 {
		id := newID()
		require.NoError(t, b.Launch(ctx, backend.Spec{
			ID: id, Image: enginetest.Image, PullPolicy: backend.PullNever, Network: "host", Command: []string{"/bin/sleep", "0.3"},
		}))
		limit := time.After(30 * time.Second)
		for seen := false; !seen; {
			select {
			case <-wakes:
			case <-limit:
				require.FailNow(t, "no wake shows the end")
			}
			listing, err := b.List(ctx)
			require.NoError(t, err)
			for _, r := range listing.Runners {
				seen = seen || r.ID == id && r.State.Ended()
			}
		}
		require.NoError(t, b.Remove(ctx, id))
	}
}

// Creations and starts are gathered: a burst of launches is no burst of lists.
func TestBeginningsAreGathered(t *testing.T) {
	t.Parallel()
	b := open(t)
	ctx, stop := context.WithCancel(t.Context())
	var wakes atomic.Int64
	connected, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- b.Watch(ctx, func() {
			if wakes.Add(1) == 1 {
				close(connected)
			}
		})
	}()
	defer func() { stop(); <-ended }()
	<-connected
	began := time.Now()
	for range 6 {
		require.NoError(t, b.Launch(ctx, sleeper(t)))
	}
	woken := wakes.Load()
	require.LessOrEqual(t, woken, 1+int64(time.Since(began)/(500*time.Millisecond)))
	require.Eventually(t, func() bool { return wakes.Load() > 1 }, 30*time.Second, 10*time.Millisecond, "and told of")
}
