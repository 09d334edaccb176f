package docker_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/internal/enginetest"
)

// A broken connection ends Watch, and the next one wakes as soon as it stands:
// what happened in between shows in the list that the wake asks for.
func TestWatchAfterAReconnect(t *testing.T) {
	t.Parallel()
	proxy := enginetest.NewProxy(t)
	b := open(t, over(proxy))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	watch := func() (wakes chan struct{}, ended chan error) {
		wakes, ended = make(chan struct{}, 100), make(chan error, 1)
		go func() { ended <- b.Watch(ctx, func() { wakes <- struct{}{} }) }()
		return wakes, ended
	}
	wakes, ended := watch()
	woken(t, wakes)
	proxy.Cut()
	err := <-ended
	require.ErrorIs(t, err, backend.ErrUnavailable)
	require.Empty(t, wakes)
	proxy.Mend()

	wakes, ended = watch()
	woken(t, wakes)
	spec := sleeper(t)
	require.NoError(t, b.Launch(t.Context(), spec))
	woken(t, wakes)
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
}

func woken(t *testing.T, wakes <-chan struct{}) {
	t.Helper()
	select {
	case <-wakes:
	case <-time.After(patience):
		require.Fail(t, "no wake")
	}
}

// What happens to others' runners wakes nobody here.
func TestWatchIsTheOwners(t *testing.T) {
	t.Parallel()
	b, other := open(t), open(t)
	ctx, cancel := context.WithCancel(t.Context())
	wakes, ended := make(chan struct{}, 100), make(chan error, 1)
	go func() { ended <- b.Watch(ctx, func() { wakes <- struct{}{} }) }()
	woken(t, wakes)
	theirs := sleeper(t)
	require.NoError(t, other.Launch(t.Context(), theirs))
	require.NoError(t, other.Remove(t.Context(), theirs.ID))
	mine := sleeper(t)
	require.NoError(t, b.Launch(t.Context(), mine))
	// Events come in order. Create and start make one wake, or two where the engine is
	// slow; the other's end would have made four by now.
	woken(t, wakes)
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
	require.LessOrEqual(t, len(wakes), 1)
}

// Logs of both streams, the tail of them, and of a container with a terminal.
func TestLogs(t *testing.T) {
	t.Parallel()
	b := open(t)
	spec := shell(t, "echo one; echo two >&2; echo three")
	text, _ := output(t, b, spec)
	require.ElementsMatch(t, []string{"one", "two", "three"}, lines(text))

	logs, err := b.Logs(t.Context(), spec.ID, 0)
	require.NoError(t, err)
	require.NoError(t, logs.Close(), "unread")
}

func lines(text string) []string { return strings.Fields(text) }
