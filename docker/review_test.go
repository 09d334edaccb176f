package docker_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/docker/docker/api/types/volume"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/docker"
	"github.com/slipway-ci/slipway/internal/enginetest"
)

var errForbidden = errors.New("the policy of this host forbids it")

// reviewing sets a review that notes requests, and refuses while forbid is set.
type reviewing struct {
	forbid atomic.Bool
	mu     sync.Mutex
	seen   []docker.Request
}

func (r *reviewing) set(c *docker.Config) {
	c.Review = func(q docker.Request) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.seen = append(r.seen, q)
		if r.forbid.Load() {
			return errForbidden
		}
		return nil
	}
}

func (r *reviewing) last(t *testing.T) docker.Request {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	require.NotEmpty(t, r.seen, "nobody was asked")
	return r.seen[len(r.seen)-1]
}

// What is judged is what is sent: defaults, the injected program and the network
// that is made for it are in there.
func TestReviewSeesWhatIsSent(t *testing.T) {
	t.Parallel()
	var r reviewing
	b := open(t, injecting(t), ownNetwork, r.set)
	spec := injected(t)
	spec.Env = map[string]string{"A": "1"}
	spec.Mounts = []backend.Mount{{Volume: "cache", Target: "/cache"}}
	require.NoError(t, b.Launch(t.Context(), spec))

	q := r.last(t)
	require.Equal(t, "slipway-"+spec.ID, q.Name)
	require.Equal(t, "docker.io/library/"+enginetest.Image, q.Image)
	require.Equal(t, q.Image, q.Config.Image)
	require.Empty(t, q.Digest)
	require.True(t, q.InjectRunner)
	require.Equal(t, []string{"/.slipway/busybox-runner"}, []string(q.Config.Entrypoint))
	require.Equal(t, "SIGTERM", q.Config.StopSignal)
	require.Equal(t, []string{"no-new-privileges"}, q.Host.SecurityOpt)
	require.EqualValues(t, 4096, *q.Host.PidsLimit)
	require.Equal(t, []string{"host.docker.internal:host-gateway"}, q.Host.ExtraHosts)
	require.Len(t, q.Host.Mounts, 2)
	require.True(t, strings.HasPrefix(q.Host.Mounts[0].Source, q.VolumePrefix), "%s", q.Host.Mounts[0].Source)
	require.Empty(t, q.Volumes, "it is not there yet")
	require.NotNil(t, q.Network)
	require.Equal(t, q.Network.Name, string(q.Host.NetworkMode))
	require.Equal(t, q.Network.Name, q.DefaultNetwork)
	require.Equal(t, "false", q.Network.Options["com.docker.network.bridge.enable_icc"])

	c := inspect(t, spec.ID)
	require.Equal(t, q.Image, c.Config.Image, "what runs is what was judged")
	require.Equal(t, q.Host.Mounts, c.HostConfig.Mounts)

	spec.ID = newID()
	require.NoError(t, b.Prepare(t.Context(), spec))
	q = r.last(t)
	require.Len(t, q.Volumes, 1)
	require.Equal(t, "local", q.Volumes[0].Driver)
}

// A refusal is definite, keeps the policy's words, and leaves nothing: neither a
// container nor the network, and nothing was pulled.
func TestReviewRefuses(t *testing.T) {
	t.Parallel()
	var r reviewing
	r.forbid.Store(true)
	registry := newRegistry(t)
	owner := ""
	b := open(t, ownNetwork, r.set, func(c *docker.Config) { owner = c.Owner })
	spec := pulled(registry, backend.PullAlways)
	spec.Mounts = []backend.Mount{{Volume: "cache", Target: "/cache"}}
	for _, err := range []error{b.Launch(t.Context(), spec), b.Prepare(t.Context(), spec)} {
		require.ErrorIs(t, err, backend.ErrRefused)
		require.ErrorIs(t, err, errForbidden)
	}
	nothing(t, spec.ID)
	require.Zero(t, registry.count(), "pulled for nobody")
	require.Empty(t, networksOf(t, owner))
	volumes, err := enginetest.Engine(t).VolumeList(t.Context(), volume.ListOptions{})
	require.NoError(t, err)
	for _, v := range volumes.Volumes {
		require.NotEqual(t, owner, v.Labels["slipway.owner"])
	}

	r.forbid.Store(false)
	require.NoError(t, b.Launch(t.Context(), spec))
	r.forbid.Store(true)
	require.ErrorIs(t, b.Launch(t.Context(), spec), backend.ErrExists, "that nothing was started would be a lie")
}

// What an earlier launch left half made was not judged by this review: it is
// made anew, or goes.
func TestReviewOfWhatIsHalfMade(t *testing.T) {
	t.Parallel()
	proxy := enginetest.NewProxy(t)
	var r reviewing
	b := open(t, over(proxy), r.set)
	halfMade := func() (backend.Spec, string) {
		spec := sleeper(t)
		proxy.Fault(onCall("POST", "/start", drop))
		require.Error(t, b.Launch(t.Context(), spec))
		return spec, inspect(t, spec.ID).ID
	}
	spec, before := halfMade()
	spec.User = "worker"
	require.NoError(t, b.Launch(t.Context(), spec))
	after := inspect(t, spec.ID)
	require.NotEqual(t, before, after.ID, "another container")
	require.Equal(t, "worker", after.Config.User, "by what was asked for now")
	require.True(t, after.State.Running)

	spec, _ = halfMade()
	r.forbid.Store(true)
	require.ErrorIs(t, b.Launch(t.Context(), spec), backend.ErrRefused)
	nothing(t, spec.ID)
	r.forbid.Store(false)

	// The answer of create gets lost: what is there may be another's.
	spec = sleeper(t)
	proxy.Fault(onCall("POST", "/containers/create", lose))
	require.NoError(t, b.Launch(t.Context(), spec))
	require.True(t, inspect(t, spec.ID).State.Running)
}

// An engine that goes while a launch is judged or counted has started nothing.
func TestNoEngineToReviewFor(t *testing.T) {
	t.Parallel()
	proxy := enginetest.NewProxy(t)
	t.Cleanup(proxy.Mend)
	var r reviewing
	b := open(t, over(proxy), r.set, func(c *docker.Config) { c.MaxRunners = 1 })
	_, err := b.List(t.Context())
	require.NoError(t, err)
	proxy.Cut()
	counted, judged := sleeper(t), sleeper(t)
	judged.Mounts = []backend.Mount{{Volume: "cache", Target: "/cache"}}
	for _, spec := range []backend.Spec{counted, judged} {
		require.ErrorIs(t, b.Launch(t.Context(), spec), backend.ErrUnavailable)
	}
	proxy.Mend()
	require.NoError(t, b.Launch(t.Context(), judged))
}

// An image's name is written out, so that the engine can't take it for the
// beginning of an image's id.
func TestReviewedImagesAreCanonical(t *testing.T) {
	t.Parallel()
	var r reviewing
	b := open(t, r.set)
	info, err := enginetest.Engine(t).ImageInspect(t.Context(), enginetest.BusyboxImage(t))
	require.NoError(t, err)
	spec := sleeper(t)
	spec.Image = strings.TrimPrefix(info.ID, "sha256:")[:12]
	err = b.Launch(t.Context(), spec)
	require.ErrorIs(t, err, backend.ErrInvalid, "no image has this name")
	require.Equal(t, "docker.io/library/"+spec.Image+":latest", r.last(t).Image)

	spec.Image = info.ID
	require.NoError(t, b.Launch(t.Context(), spec))
	require.Equal(t, info.ID, r.last(t).Image)
	require.Equal(t, info.ID, r.last(t).Digest)

	spec.ID, spec.Image = newID(), "Not/An Image"
	require.ErrorIs(t, b.Launch(t.Context(), spec), backend.ErrInvalid)
}

// The bound holds at every instant, however many launch at once.
func TestMaxRunners(t *testing.T) {
	t.Parallel()
	const most = 3
	b := open(t, func(c *docker.Config) { c.MaxRunners = most })
	specs := make([]backend.Spec, 8)
	errs := make([]error, len(specs))
	var wg sync.WaitGroup
	for i := range specs {
		specs[i] = sleeper(t)
		wg.Go(func() { errs[i] = b.Launch(t.Context(), specs[i]) })
	}
	wg.Wait()
	var running []backend.Spec
	for i, err := range errs {
		if err == nil {
			running = append(running, specs[i])
			continue
		}
		require.ErrorIs(t, err, backend.ErrExhausted)
		nothing(t, specs[i].ID)
	}
	require.Len(t, running, most)
	require.ErrorIs(t, b.Launch(t.Context(), running[0]), backend.ErrExists, "no room is asked for")
	require.NoError(t, b.Remove(t.Context(), running[0].ID))
	ends := shell(t, "true")
	require.NoError(t, b.Launch(t.Context(), ends))
	await(t, b, ends.ID, backend.State.Ended)
	require.NoError(t, b.Launch(t.Context(), sleeper(t)), "an ended one holds no room")
	require.ErrorIs(t, b.Launch(context.WithoutCancel(t.Context()), sleeper(t)), backend.ErrExhausted)
}

// A runner that is half made holds the room that it is finished in.
func TestMaxRunnersOfWhatIsHalfMade(t *testing.T) {
	t.Parallel()
	proxy := enginetest.NewProxy(t)
	b := open(t, over(proxy), func(c *docker.Config) { c.MaxRunners = 1 })
	spec := sleeper(t)
	proxy.Fault(onCall("POST", "/start", drop))
	require.Error(t, b.Launch(t.Context(), spec))
	other := sleeper(t)
	require.ErrorIs(t, b.Launch(t.Context(), other), backend.ErrExhausted)
	nothing(t, other.ID)
	require.NoError(t, b.Launch(t.Context(), spec))
}
