package docker_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/docker"
)

// cleaner notes in a cache volume that it was asked to end.
func cleaner(t *testing.T) backend.Spec {
	spec := shell(t, `trap 'echo cleaned > /cache/file; exit 0' TERM; echo ready; while true; do sleep 0.05; done`)
	spec.Mounts = []backend.Mount{{Volume: "cache", Target: "/cache"}}
	return spec
}

func kept(t *testing.T, b *docker.Backend) string {
	t.Helper()
	spec := shell(t, "cat /cache/file 2>/dev/null")
	spec.Mounts = []backend.Mount{{Volume: "cache", Target: "/cache"}}
	text, _ := output(t, b, spec)
	return text
}

func ready(t *testing.T, b *docker.Backend, id string) {
	t.Helper()
	require.Eventually(t, func() bool { return printed(t, b, id) == "ready\n" }, patience, 20*time.Millisecond)
}

// A runner that is removed is asked first, and may clean up.
func TestRemoveAsksFirst(t *testing.T) {
	t.Parallel()
	b := open(t, func(c *docker.Config) { c.StopGrace = patience })
	spec := cleaner(t)
	require.NoError(t, b.Launch(t.Context(), spec))
	ready(t, b, spec.ID)
	began := time.Now()
	require.NoError(t, b.Remove(t.Context(), spec.ID))
	require.Less(t, time.Since(began), patience/2, "whoever ends by itself is not waited for")
	nothing(t, spec.ID)
	require.Equal(t, "cleaned\n", kept(t, b))
}

// One that does not listen is killed when the grace is over, and is seen to be
// stopping until then. The grace is long: a busy engine is slow to show it.
func TestRemoveKillsAfterTheGrace(t *testing.T) {
	t.Parallel()
	b := open(t, func(c *docker.Config) { c.StopGrace = 2500 * time.Millisecond })
	spec := sleeper(t) // the first process of a container gets no signal that it does not handle
	require.NoError(t, b.Launch(t.Context(), spec))
	began := time.Now()
	removed := make(chan error, 1)
	go func() { removed <- b.Remove(context.WithoutCancel(t.Context()), spec.ID) }()
	await(t, b, spec.ID, func(s backend.State) bool { return s == backend.Stopping })
	require.NoError(t, <-removed)
	require.GreaterOrEqual(t, time.Since(began), 3*time.Second, "the grace counts in whole seconds")
	nothing(t, spec.ID)
}

// Purge and a backend without a grace do not ask, and ended runners have nothing
// to be asked.
func TestWhoIsNotAsked(t *testing.T) {
	t.Parallel()
	b := open(t, func(c *docker.Config) { c.StopGrace = time.Hour })
	running, ended := sleeper(t), shell(t, "true")
	require.NoError(t, b.Launch(t.Context(), running))
	require.NoError(t, b.Launch(t.Context(), ended))
	await(t, b, ended.ID, backend.State.Ended)
	require.NoError(t, b.Remove(t.Context(), ended.ID))
	nothing(t, ended.ID)

	impatient, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, b.Remove(impatient, running.ID), context.DeadlineExceeded)
	require.NoError(t, b.Purge(t.Context()))
	nothing(t, running.ID)

	abrupt := open(t)
	spec := cleaner(t)
	require.NoError(t, abrupt.Launch(t.Context(), spec))
	ready(t, abrupt, spec.ID)
	require.NoError(t, abrupt.Remove(t.Context(), spec.ID))
	require.Empty(t, kept(t, abrupt))
}
