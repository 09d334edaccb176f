package docker_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/docker"
	"github.com/slipway-ci/slipway/internal/enginetest"
)

// onCall does something with the first request of that method and end of path,
// and passes the others.
func onCall(method, suffix string, do func() enginetest.Fault) func(*http.Request) enginetest.Fault {
	var once atomic.Bool
	return func(r *http.Request) enginetest.Fault {
		if r.Method == method && strings.HasSuffix(r.URL.Path, suffix) && once.CompareAndSwap(false, true) {
			return do()
		}
		return enginetest.Pass
	}
}

func lose() enginetest.Fault { return enginetest.Lose }
func drop() enginetest.Fault { return enginetest.Drop }

// Created, and the answer never came: the container is found and started.
func TestLostAnswerOfCreate(t *testing.T) {
	t.Parallel()
	proxy := enginetest.NewProxy(t)
	b := open(t, over(proxy))
	spec := sleeper(t)
	proxy.Fault(onCall("POST", "/containers/create", lose))
	require.NoError(t, b.Launch(t.Context(), spec))
	require.True(t, inspect(t, spec.ID).State.Running)
}

// Asked, and nothing came back: nobody knows whether the engine will create it.
func TestLostCreateIsUncertain(t *testing.T) {
	t.Parallel()
	proxy := enginetest.NewProxy(t)
	b := open(t, over(proxy))
	spec := sleeper(t)
	proxy.Fault(onCall("POST", "/containers/create", drop))
	err := b.Launch(t.Context(), spec)
	require.Error(t, err)
	require.False(t, backend.IsDefinite(err), "the engine may have got it: %v", err)
	require.NotErrorIs(t, err, backend.ErrExists)
	require.NoError(t, b.Launch(t.Context(), spec), "the next one makes it")
}

// Started, and the answer never came: it runs.
func TestLostAnswerOfStart(t *testing.T) {
	t.Parallel()
	proxy := enginetest.NewProxy(t)
	b := open(t, over(proxy))
	spec := sleeper(t)
	proxy.Fault(onCall("POST", "/start", lose))
	require.NoError(t, b.Launch(t.Context(), spec))
	require.True(t, inspect(t, spec.ID).State.Running)
}

// Created, and start was never answered: uncertain, listed as starting, and
// finished by the next launch of the id.
func TestHalfMadeIsFinished(t *testing.T) {
	t.Parallel()
	proxy := enginetest.NewProxy(t)
	b := open(t, over(proxy))
	spec := sleeper(t)
	proxy.Fault(onCall("POST", "/start", drop))
	err := b.Launch(t.Context(), spec)
	require.Error(t, err)
	require.False(t, backend.IsDefinite(err))
	r, ok := find(t, b, spec.ID)
	require.True(t, ok)
	require.Equal(t, backend.Starting, r.State)
	before := inspect(t, spec.ID).ID

	require.NoError(t, b.Launch(t.Context(), spec))
	require.Equal(t, before, inspect(t, spec.ID).ID, "the same container")
	require.ErrorIs(t, b.Launch(t.Context(), spec), backend.ErrExists)
}

// No engine: the request did not leave.
func TestNoEngine(t *testing.T) {
	t.Parallel()
	proxy := enginetest.NewProxy(t)
	b := open(t, over(proxy))
	spec := sleeper(t)
	t.Cleanup(proxy.Mend)
	for _, when := range []string{"never reached before", "known from before"} {
		proxy.Cut()
		require.ErrorIs(t, b.Launch(t.Context(), spec), backend.ErrUnavailable, when)
		_, err := b.List(t.Context())
		require.ErrorIs(t, err, backend.ErrUnavailable, when)
		require.Error(t, b.Remove(t.Context(), spec.ID), when)
		require.ErrorIs(t, b.Prepare(t.Context(), spec), backend.ErrUnavailable, when)
		require.ErrorIs(t, b.Watch(t.Context(), func() { t.Error("woken by nothing") }), backend.ErrUnavailable, when)
		_, err = b.Logs(t.Context(), spec.ID, 0)
		require.ErrorIs(t, err, backend.ErrUnavailable, when)
		require.Error(t, b.Purge(t.Context()), when)
		_, err = b.Gateway(t.Context())
		require.Error(t, err, when)
		proxy.Mend()
		_, err = b.List(t.Context())
		require.NoError(t, err)
	}
	require.NoError(t, b.Launch(t.Context(), spec))
}

// The caller goes away while the engine creates: in the end nothing is there.
func TestContextEndsDuringCreate(t *testing.T) {
	t.Parallel()
	proxy := enginetest.NewProxy(t)
	b := open(t, over(proxy))
	spec := sleeper(t)
	ctx, cancel := context.WithCancel(t.Context())
	started := make(chan struct{}, 1)
	proxy.Fault(func(r *http.Request) enginetest.Fault {
		switch {
		case strings.HasSuffix(r.URL.Path, "/containers/create"):
			cancel()
		case strings.HasSuffix(r.URL.Path, "/start"):
			started <- struct{}{}
		}
		return enginetest.Pass
	})
	err := b.Launch(ctx, spec)
	require.ErrorIs(t, err, context.Canceled)
	require.False(t, backend.IsDefinite(err))
	require.Eventually(t, func() bool {
		list, err := enginetest.Engine(t).ContainerList(t.Context(), container.ListOptions{All: true})
		require.NoError(t, err)
		for _, c := range list {
			if c.Labels["slipway.runner"] == spec.ID {
				return false
			}
		}
		return true
	}, patience, 20*time.Millisecond, "something half made stays")
	require.Empty(t, started, "it was started for nobody")
}

// A launch that hangs holds up neither other launches nor the caller.
func TestHangingCreateStopsNobodyElse(t *testing.T) {
	t.Parallel()
	proxy := enginetest.NewProxy(t)
	b := open(t, over(proxy))
	hangs, goes := sleeper(t), sleeper(t)
	release, reached := make(chan struct{}), make(chan struct{})
	proxy.Fault(onCall("POST", "/containers/create", func() enginetest.Fault {
		close(reached)
		<-release
		return enginetest.Pass
	}))
	ctx, cancel := context.WithCancel(t.Context())
	answer := make(chan error, 1)
	go func() { answer <- b.Launch(ctx, hangs) }()
	<-reached
	require.NoError(t, b.Launch(t.Context(), goes))
	cancel()
	require.ErrorIs(t, <-answer, context.Canceled, "the caller is let go")

	// Remove must not say that it is gone while it may still come.
	short, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	require.ErrorIs(t, b.Remove(short, hangs.ID), context.DeadlineExceeded)
	close(release)
	require.NoError(t, b.Remove(t.Context(), hangs.ID))
	nothing(t, hangs.ID)
}

// Something has our runner's name and is not ours.
func TestNameTaken(t *testing.T) {
	t.Parallel()
	b := open(t)
	spec := sleeper(t)
	engine := enginetest.Engine(t)
	c, err := engine.ContainerCreate(t.Context(), &container.Config{Image: spec.Image}, nil, nil, nil, "slipway-"+spec.ID)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, engine.ContainerRemove(context.WithoutCancel(t.Context()), c.ID, container.RemoveOptions{Force: true}))
	})
	require.ErrorIs(t, b.Launch(t.Context(), spec), backend.ErrRefused)
	require.NoError(t, b.Remove(t.Context(), spec.ID), "to us it never was")
	require.Equal(t, c.ID, inspect(t, spec.ID).ID)
	require.Equal(t, "created", string(inspect(t, spec.ID).State.Status), "it was not started either")
}

// What is there already is not fetched again, whatever the registry says now.
func TestExistsBeforeAnyPull(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	b := open(t, func(c *docker.Config) { c.PullWindow = time.Nanosecond })
	spec := pulled(r, backend.PullAlways)
	require.NoError(t, b.Launch(t.Context(), spec))
	r.set(func() { r.status = http.StatusNotFound })
	require.ErrorIs(t, b.Launch(t.Context(), spec), backend.ErrExists)
}

func TestTwentyAtOnce(t *testing.T) {
	t.Parallel()
	b := open(t, ownNetwork)
	errs := make([]error, 20)
	var wg sync.WaitGroup
	for i := range errs {
		spec := sleeper(t)
		wg.Go(func() { errs[i] = b.Launch(t.Context(), spec) })
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	listing, err := b.List(t.Context())
	require.NoError(t, err)
	require.Len(t, listing.Runners, len(errs))
	for i := range listing.Runners {
		wg.Go(func() { errs[i] = b.Remove(t.Context(), listing.Runners[i].ID) })
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
}

// refusing answers the first request of that end of path as an engine would that
// refuses it.
func refusing(suffix string, status int, words string) func(http.ResponseWriter, *http.Request) enginetest.Fault {
	var once atomic.Bool
	return func(w http.ResponseWriter, r *http.Request) enginetest.Fault {
		if r.Method == "POST" && strings.HasSuffix(r.URL.Path, suffix) && once.CompareAndSwap(false, true) {
			return enginetest.Refuse(w, status, words)
		}
		return enginetest.Pass
	}
}

// What an engine refuses at create and at start, in words of its own.
func TestRefusedByTheEngine(t *testing.T) {
	t.Parallel()
	proxy := enginetest.NewProxy(t)
	b := open(t, over(proxy))
	for _, c := range []struct {
		step   string
		status int
		words  string
		want   error // nil: uncertain
	}{
		{"/containers/create", 500, "mkdir /var/lib/docker: no space left on device", backend.ErrExhausted},
		{"/containers/create", 400, "bad parameter", backend.ErrInvalid},
		{"/containers/create", 403, "authorization denied by plugin", backend.ErrRefused},
		{"/containers/create", 500, "something new", backend.ErrUnavailable},
		{"/containers/create", 503, "from a proxy on the way", nil},
		{"/start", 500, "no available IPv4 addresses on this network's address pools", backend.ErrExhausted},
		{"/start", 500, "something new", backend.ErrUnavailable},
	} {
		spec := sleeper(t)
		proxy.Answer(refusing(c.step, c.status, c.words))
		err := b.Launch(t.Context(), spec)
		require.ErrorContains(t, err, c.words)
		if c.want == nil {
			require.False(t, backend.IsDefinite(err), "%v", err)
			continue
		}
		require.ErrorIs(t, err, c.want, "%d %s", c.status, c.words)
		nothing(t, spec.ID)
	}
}

// The engine says that start failed, and the process ran all the same: its
// registration may be spent.
func TestStartRefusedAfterTheStart(t *testing.T) {
	t.Parallel()
	proxy := enginetest.NewProxy(t)
	b := open(t, over(proxy))
	spec := sleeper(t)
	engine := enginetest.Engine(t)
	proxy.Answer(func(w http.ResponseWriter, r *http.Request) enginetest.Fault {
		if !strings.HasSuffix(r.URL.Path, "/start") {
			return enginetest.Pass
		}
		require.NoError(t, engine.ContainerStart(r.Context(), "slipway-"+spec.ID, container.StartOptions{}))
		return enginetest.Refuse(w, 500, "timeout")
	})
	err := b.Launch(t.Context(), spec)
	require.Error(t, err)
	require.False(t, backend.IsDefinite(err), "it runs: %v", err)
	require.True(t, inspect(t, spec.ID).State.Running, "it is left for List to find")
}

// Newer engines miss a pruned network at create already.
func TestNetworkMissedAtCreate(t *testing.T) {
	t.Parallel()
	proxy := enginetest.NewProxy(t)
	b := open(t, over(proxy), ownNetwork)
	proxy.Answer(refusing("/containers/create", 404, "network slipway-net-x not found"))
	require.NoError(t, b.Launch(t.Context(), sleeper(t)))
}

// A start that fails while the engine goes: what is half made stays, so nothing
// definite is said.
func TestHalfMadeThatCannotBeUndone(t *testing.T) {
	t.Parallel()
	proxy := enginetest.NewProxy(t)
	b := open(t, over(proxy))
	spec := sleeper(t)
	refuse := refusing("/start", 500, "something new")
	proxy.Answer(func(w http.ResponseWriter, r *http.Request) enginetest.Fault {
		if r.Method == "DELETE" {
			return enginetest.Drop
		}
		return refuse(w, r)
	})
	err := b.Launch(t.Context(), spec)
	require.ErrorContains(t, err, "something new")
	require.False(t, backend.IsDefinite(err), "%v", err)
	proxy.Answer(nil)
	require.NoError(t, b.Launch(t.Context(), spec), "the next one finishes it")
}

// What the engine lists and does not find is not gone: it is still making it.
func TestWhatIsBeingMadeIsNotGone(t *testing.T) {
	t.Parallel()
	proxy := enginetest.NewProxy(t)
	b := open(t, over(proxy))
	spec := sleeper(t)
	require.NoError(t, b.Launch(t.Context(), spec))
	proxy.Answer(func(w http.ResponseWriter, r *http.Request) enginetest.Fault {
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "slipway-"+spec.ID+"/json") {
			return enginetest.Refuse(w, http.StatusNotFound, "No such container")
		}
		return enginetest.Pass
	})
	require.ErrorIs(t, b.Remove(t.Context(), spec.ID), backend.ErrUnavailable)
	_, listed := find(t, b, spec.ID)
	require.True(t, listed)
	proxy.Answer(nil)
	require.NoError(t, b.Remove(t.Context(), spec.ID))
	_, listed = find(t, b, spec.ID)
	require.False(t, listed)
	require.NoError(t, b.Remove(t.Context(), spec.ID))
}
