package docker_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/docker"
	"github.com/slipway-ci/slipway/internal/enginetest"
)

// However many there are, a list in which nothing is new is one request.
func TestListIsOneRequest(t *testing.T) {
	t.Parallel()
	proxy := enginetest.NewProxy(t)
	b := open(t, over(proxy))
	runs, failed, exited := sleeper(t), shell(t, "exit 3"), shell(t, "exit 0")
	for _, spec := range []backend.Spec{runs, failed, exited} {
		require.NoError(t, b.Launch(t.Context(), spec))
	}
	await(t, b, failed.ID, backend.State.Ended)
	await(t, b, exited.ID, backend.State.Ended)
	first, err := b.List(t.Context())
	require.NoError(t, err)

	proxy.Seen()
	second, err := b.List(t.Context())
	require.NoError(t, err)
	require.Len(t, proxy.Seen(), 1)
	require.Equal(t, first.Runners, second.Runners)

	require.NoError(t, b.Remove(t.Context(), runs.ID))
	proxy.Seen()
	third, err := b.List(t.Context())
	require.NoError(t, err)
	require.Len(t, proxy.Seen(), 1)
	require.Len(t, third.Runners, 2)
}

// What can't be looked at makes the whole list fail: there is no silent part.
func TestListHasNoSilentPart(t *testing.T) {
	t.Parallel()
	proxy := enginetest.NewProxy(t)
	b := open(t, over(proxy))
	require.NoError(t, b.Launch(t.Context(), sleeper(t)))
	require.NoError(t, b.Launch(t.Context(), sleeper(t)))
	looks := make(chan struct{}, 10)
	proxy.Fault(func(r *http.Request) enginetest.Fault {
		if r.Method == "GET" && strings.HasSuffix(r.URL.Path, "/json") && !strings.HasSuffix(r.URL.Path, "/containers/json") {
			looks <- struct{}{}
			return enginetest.Drop
		}
		return enginetest.Pass
	})
	_, err := b.List(t.Context())
	require.ErrorIs(t, err, backend.ErrUnavailable)
	require.NotEmpty(t, looks, "details of the new ones are asked for")
	proxy.Fault(nil)
	listing, err := b.List(t.Context())
	require.NoError(t, err)
	require.Len(t, listing.Runners, 2)
}

// Times are those of the engine, in order.
func TestTimes(t *testing.T) {
	t.Parallel()
	b := open(t)
	spec := shell(t, "sleep 0.2; exit 4")
	_, r := output(t, b, spec)
	require.Equal(t, 4, *r.ExitCode)
	require.False(t, r.Created.IsZero())
	require.False(t, r.Started.Before(r.Created))
	require.GreaterOrEqual(t, r.Finished.Sub(r.Started), 150*time.Millisecond)
}

// Another schema, other names: what the standalone provisioner uses.
func TestOwnSchema(t *testing.T) {
	t.Parallel()
	var config docker.Config
	b := open(t, func(c *docker.Config) {
		c.NamePrefix = "other-"
		c.Schema = docker.Schema{Prefix: "shipfox.", Owner: "shipfox.provisioner_id", Runner: "shipfox.provider_runner_id",
			Names: map[string]string{"template": "shipfox.template_key"}}
		config = *c
	})
	spec := sleeper(t)
	spec.Labels = map[string]string{"template": "small", "runner_instance_id": "i-1"}
	require.NoError(t, b.Launch(t.Context(), spec))
	c, err := enginetest.Engine(t).ContainerInspect(t.Context(), "other-"+spec.ID)
	require.NoError(t, err)
	require.Equal(t, config.Owner, c.Config.Labels["shipfox.provisioner_id"])
	require.Equal(t, spec.ID, c.Config.Labels["shipfox.provider_runner_id"])
	require.Equal(t, "small", c.Config.Labels["shipfox.template_key"])
	require.Equal(t, "i-1", c.Config.Labels["shipfox.runner_instance_id"])
	r, ok := find(t, b, spec.ID)
	require.True(t, ok)
	require.Equal(t, spec.Labels, r.Labels)

	// The same owner with another schema or prefix sees none of it.
	config.Schema = docker.Schema{}
	other, err := docker.New(config)
	require.NoError(t, err)
	defer other.Close()
	_, ok = find(t, other, spec.ID)
	require.False(t, ok)
	require.NoError(t, other.Remove(t.Context(), spec.ID))
	_, ok = find(t, b, spec.ID)
	require.True(t, ok)
}

// While a launch is under way the engine is not asked when others began to run; that
// they run is told all the same.
func TestLaunchesComeBeforeLooks(t *testing.T) {
	t.Parallel()
	proxy := enginetest.NewProxy(t)
	b := open(t, over(proxy))
	runs, held := sleeper(t), sleeper(t)
	require.NoError(t, b.Launch(t.Context(), runs))
	reached, release := make(chan struct{}), make(chan struct{})
	proxy.Fault(onCall(http.MethodPost, "/start", func() enginetest.Fault {
		close(reached)
		<-release
		return enginetest.Pass
	}))
	launched := make(chan error, 1)
	go func() { launched <- b.Launch(t.Context(), held) }()
	<-reached
	proxy.Seen()
	listing, err := b.List(t.Context())
	require.NoError(t, err)
	require.Len(t, proxy.Seen(), 1, "looks wait for launches")
	require.Len(t, listing.Runners, 2)
	shown := listing.Runners[slices.IndexFunc(listing.Runners, func(r backend.Runner) bool { return r.ID == runs.ID })]
	require.Equal(t, backend.Running, shown.State)

	close(release)
	require.NoError(t, <-launched)
	listing, err = b.List(t.Context())
	require.NoError(t, err)
	for _, r := range listing.Runners {
		require.Equal(t, backend.Running, r.State)
		require.False(t, r.Started.IsZero(), "looked at when the launch was over")
	}
}
