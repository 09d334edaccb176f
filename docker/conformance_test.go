package docker_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/backendtest"
	"github.com/slipway-ci/slipway/docker"
	"github.com/slipway-ci/slipway/internal/enginetest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	enginetest.BusyboxImage(t) // skips here, rather than in each promise
	backendtest.RunParallel(t, func(t *testing.T) backendtest.Harness { return newHarness(t) })
}

// harness is the real engine behind a proxy that can fail.
type harness struct {
	engine *client.Client
	proxy  *enginetest.Proxy
	image  string
}

var _ interface {
	backendtest.Harness
	backendtest.Reopener
	backendtest.Invalider
	backendtest.Starver
	backendtest.Killer
	backendtest.Prober
	backendtest.Breaker
	backendtest.Hanger
	backendtest.Stranger
	backendtest.Printer
	backendtest.Teller
	backendtest.Staller
	backendtest.Lacker
} = (*harness)(nil)

func newHarness(t *testing.T) *harness {
	return &harness{engine: enginetest.Engine(t), proxy: enginetest.NewProxy(t), image: enginetest.BusyboxImage(t)}
}

func (h *harness) Open(t *testing.T, owner string) backend.Backend {
	b, err := docker.New(docker.Config{Owner: owner, Host: h.proxy.Host, Network: "none", StopGrace: -1})
	require.NoError(t, err)
	t.Cleanup(func() {
		h.proxy.Unhang()
		h.proxy.Mend()
		require.NoError(t, purge(t, b))
		require.NoError(t, b.Close())
	})
	return b
}

func (h *harness) Reopen(t *testing.T, owner string) backend.Backend { return h.Open(t, owner) }

// script is a spec that runs sh.
func script(image, text string) backend.Spec {
	return backend.Spec{Image: image, PullPolicy: backend.PullNever, Entrypoint: []string{"/bin/sh", "-c"}, Command: []string{text}}
}

func (h *harness) Runs() backend.Spec {
	return backend.Spec{Image: h.image, PullPolicy: backend.PullNever, Entrypoint: []string{"/bin/sleep"}, Command: []string{"600"}}
}

func (h *harness) Exits(code int) backend.Spec { return script(h.image, fmt.Sprintf("exit %d", code)) }

func (h *harness) Invalid() backend.Spec {
	return backend.Spec{Image: h.image, PullPolicy: backend.PullNever, Entrypoint: []string{"/there/is/none"}}
}

func (h *harness) OutOfMemory() backend.Spec {
	// Not at once: the engine begins to watch a runner's memory after its start.
	spec := script(h.image, "sleep 0.5; exec dd if=/dev/zero of=/dev/null bs=64M count=1")
	spec.Memory = 16 << 20
	return spec
}

func (h *harness) Prints(lines []string) backend.Spec {
	return backend.Spec{Image: h.image, PullPolicy: backend.PullNever, Entrypoint: []string{"/bin/printf", `%s\n`}, Command: lines}
}

func (h *harness) Tells() backend.Spec { return script(h.image, "env >&2; exec sleep 600") }

// Lacks is what depends on the configuration; the engine answers for the rest.
func (h *harness) Lacks() []string { return []string{"InjectRunner"} }

// Stall lets the engine not answer what is asked about one container.
func (h *harness) Stall(t *testing.T, id string) <-chan struct{} {
	reached, over := make(chan struct{}), make(chan struct{})
	once := sync.OnceFunc(func() { close(reached) })
	h.proxy.Fault(func(r *http.Request) enginetest.Fault {
		if !strings.Contains(r.URL.String(), id) {
			return enginetest.Pass
		}
		once()
		select {
		case <-r.Context().Done():
		case <-over:
		}
		return enginetest.Drop
	})
	t.Cleanup(func() {
		h.proxy.Fault(nil)
		close(over)
	})
	return reached
}

func (h *harness) Kill(t *testing.T, id string) {
	require.NoError(t, h.engine.ContainerKill(t.Context(), "slipway-"+id, "KILL"))
}

func (h *harness) Alive(t *testing.T, id string) int {
	list, err := h.engine.ContainerList(t.Context(), container.ListOptions{})
	require.NoError(t, err)
	n := 0
	for _, c := range list {
		if c.Labels["slipway.runner"] == id {
			n++
		}
	}
	return n
}

func (h *harness) Break(*testing.T)  { h.proxy.Cut() }
func (h *harness) Mend(*testing.T)   { h.proxy.Mend() }
func (h *harness) Hang(*testing.T)   { h.proxy.Hang() }
func (h *harness) Unhang(*testing.T) { h.proxy.Unhang() }

// Patience is short: the engine is on this machine.
func (h *harness) Patience() time.Duration { return 30 * time.Second }

// Strangers makes near misses.
func (h *harness) Strangers(t *testing.T, owner string) func(*testing.T) {
	id := uuid.Must(uuid.NewV7()).String()
	label := func(owner, runner string) map[string]string {
		return map[string]string{"slipway.owner": owner, "slipway.runner": runner, "slipway.keys": ""}
	}
	other := func() string { return uuid.Must(uuid.NewV7()).String() }
	unkeyed := label(owner, id)
	delete(unkeyed, "slipway.keys")
	broken := label(owner, other())
	broken["slipway.keys"] = "template"
	upper, short, renamed := strings.ToUpper(other()), other()[24:], other()
	near := map[string]map[string]string{
		"slipway-" + id:                       label(owner+"x", id),           // an owner that begins like ours
		"slipway-" + other():                  label(owner, other()),          // another id than the name says
		"slipway-" + upper:                    label(owner, upper),            // not canonical
		"slipway-" + short:                    label(owner, short),            // not a UUID
		"renamed-" + renamed:                  label(owner, renamed),          // another name
		"slipway-" + renamed + "-old":         label(owner, renamed),          // a name with more
		"slipway-unkeyed-" + owner:            unkeyed,                        // a label missing
		"slipway-" + broken["slipway.runner"]: broken,                         // a key without its label
		"plain-" + owner:                      {"owner": owner, "runner": id}, // another schema
	}
	before := map[string]string{}
	var work errgroup.Group
	remove := func(t *testing.T) {
		for _, id := range before {
			work.Go(func() error { h.removeStranger(t, id); return nil })
		}
		_ = work.Wait()
	}
	t.Cleanup(func() { remove(t) })
	for name, labels := range near {
		created, err := h.engine.ContainerCreate(t.Context(), &container.Config{
			Image: h.image, Entrypoint: []string{"/bin/sleep", "600"}, Labels: labels,
		}, &container.HostConfig{NetworkMode: "none"}, nil, nil, name)
		require.NoError(t, err)
		before[name] = created.ID
	}
	for _, id := range before {
		work.Go(func() error { return h.engine.ContainerStart(t.Context(), id, container.StartOptions{}) })
	}
	require.NoError(t, work.Wait())
	return func(t *testing.T) {
		for name, id := range before {
			c, err := h.engine.ContainerInspect(t.Context(), name)
			require.NoError(t, err, "a stranger was removed: %v", near[name])
			require.Equal(t, id, c.ID)
			require.True(t, c.State.Running, "a stranger was ended: %v", near[name])
		}
		remove(t)
	}
}

func (h *harness) removeStranger(t *testing.T, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 30*time.Second)
	defer cancel()
	err := h.engine.ContainerRemove(ctx, id, container.RemoveOptions{Force: true})
	if err != nil && !cerrdefs.IsNotFound(err) {
		t.Errorf("remove a stranger: %v", err)
	}
}

// purge takes away what the owner of b has, and fails when that takes too long.
func purge(t testing.TB, b *docker.Backend) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 30*time.Second)
	defer cancel()
	err := b.Purge(ctx)
	if errors.Is(err, docker.ErrNetworkHeld) {
		t.Logf("a defect of the engine: %v", err)
		return nil
	}
	return err
}
