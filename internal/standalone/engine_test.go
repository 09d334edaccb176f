package standalone

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/client"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub"
	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/internal/enginetest"
	"github.com/slipway-ci/slipway/internal/standalone/foxtest"
	"github.com/slipway-ci/slipway/provisioner/shipfox"
)

// built are the static programs, side by side as they are delivered. They are
// built once a test run.
var (
	wanted atomic.Bool
	built  = sync.OnceValues(buildPrograms)
)

func buildPrograms() (string, error) {
	if !wanted.Load() {
		return "", errors.New("not wanted")
	}
	dir, err := os.MkdirTemp("", "standalone-test")
	if err != nil {
		return "", err
	}
	for _, name := range []string{"slipway-provisioner", "slipway-runner"} {
		build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(dir, name), "./cmd/"+name)
		build.Dir = filepath.Join("..", "..")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if text, err := build.CombinedOutput(); err != nil {
			return "", &exec.Error{Name: string(text), Err: err}
		}
	}
	return dir, nil
}

// programs is the folder of the static programs.
func programs(t testing.TB) string {
	t.Helper()
	wanted.Store(true)
	dir, err := built()
	require.NoError(t, err)
	return dir
}

// dock is one owner's part of the engine.
type dock struct {
	t      testing.TB
	engine *client.Client
	owner  string
	world  *foxtest.World
	env    map[string]string
}

// newDock opens a hub, and settings for a provisioner on the engine with the
// templates. All that its owner has on the engine goes with the test.
func newDock(t testing.TB, generation, file string) *dock {
	t.Helper()
	// A container may take its time to start.
	return newDockOn(t, enginetest.Host(t), generation, file, func(c *hub.Config) { c.ReservationTTL = time.Minute })
}

// newDockOn does it on the engine at host.
func newDockOn(t testing.TB, host, generation, file string, adjust ...func(*hub.Config)) *dock {
	t.Helper()
	engine, err := client.NewClientWithOpts(client.WithHost(host), client.WithAPIVersionNegotiation())
	require.NoError(t, err)
	t.Cleanup(func() { _ = engine.Close() })
	d := &dock{t: t, engine: engine}
	d.world = foxtest.New(t, generation, adjust...)
	control, err := shipfox.New(shipfox.Config{URL: d.world.Hub.URL(), Token: d.world.Token})
	require.NoError(t, err)
	me, err := control.Identify(t.Context())
	require.NoError(t, err)
	d.owner = me.ID
	d.env = with(settingsFor(d.world.Hub.URL(), d.world.Token, file), "DOCKER_HOST", host,
		"SHIPFOX_PROVISIONER_DOCKER_NETWORK", "host", "SHIPFOX_PROVISIONER_DOCKER_FAILED_CONTAINER_RETENTION_MS", "0")
	t.Cleanup(func() {
		for _, c := range d.containers() {
			d.remove(c.ID)
		}
	})
	return d
}

func (d *dock) ctx() context.Context { return context.WithoutCancel(d.t.Context()) }

func (d *dock) containers() []container.Summary {
	d.t.Helper()
	list, err := d.engine.ContainerList(d.ctx(), container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", "shipfox.provisioner_id="+d.owner))})
	require.NoError(d.t, err)
	return list
}

func (d *dock) remove(id string) {
	_ = d.engine.ContainerRemove(d.ctx(), id, container.RemoveOptions{Force: true, RemoveVolumes: true})
}

// put starts a container as another program would.
func (d *dock) put(name string, labels map[string]string) string {
	d.t.Helper()
	made, err := d.engine.ContainerCreate(d.ctx(), &container.Config{
		Image: enginetest.BusyboxImage(d.t), Cmd: []string{"/bin/sleep", "600"}, Labels: labels,
	}, &container.HostConfig{NetworkMode: "none"}, nil, nil, name)
	require.NoError(d.t, err)
	d.t.Cleanup(func() { d.remove(made.ID) })
	require.NoError(d.t, d.engine.ContainerStart(d.ctx(), made.ID, container.StartOptions{}))
	return made.ID
}

// touch makes a file in a container.
func (d *dock) touch(id, file string) {
	d.t.Helper()
	made, err := d.engine.ContainerExecCreate(d.ctx(), id, container.ExecOptions{Cmd: []string{"touch", file}})
	require.NoError(d.t, err)
	require.NoError(d.t, d.engine.ContainerExecStart(d.ctx(), made.ID, container.ExecStartOptions{}))
}

func (d *dock) start(args ...string) *started {
	d.t.Helper()
	return startProgram(d.t, filepath.Join(programs(d.t), "slipway-provisioner"), d.env, args...)
}

const injected = "templates:\n  small:\n    labels: [linux]\n    image: " + enginetest.Image + "\n    pull_policy: never\n    inject_runner: true\n" +
	"    cpu: 1\n    memory: 64m\n    max_concurrency: 4\n"

// What we launch looks as the reference launches it, a restart adopts it, and so
// does a host move from the reference to us while runners run.
func TestContainersAreThoseOfTheReference(t *testing.T) {
	for _, generation := range []string{"head", "pr"} {
		t.Run(generation, func(t *testing.T) {
			enginetest.BusyboxImage(t)
			d := newDock(t, generation, templates(t, injected))
			p := d.start()
			p.ready()
			d.world.Submit(t, 2, "until test -e /tmp/go; do sleep 0.1; done", "linux")
			require.Eventually(t, func() bool { return d.world.Count(t)[queue.StateRunning] == 2 }, patience, 50*time.Millisecond, "%v", d.world.Count(t))
			p.kill()

			id := "shipfox.provider_runner_id"
			if generation == "pr" {
				id = "shipfox.provisioned_runner_id"
			}
			ours := d.containers()
			require.Len(t, ours, 2)
			for _, c := range ours {
				require.Equal(t, []string{"/" + c.Labels[id]}, c.Names, "the name is the provider's id alone")
				require.Equal(t, "small", c.Labels["shipfox.template_key"])
				require.Equal(t, "linux", c.Labels["shipfox.labels"])
				require.NotEmpty(t, c.Labels["shipfox.reservation_id"])
				require.NotEmpty(t, c.Labels["shipfox.workspace_id"])
				require.Equal(t, generation == "head", c.Labels["shipfox.runner_instance_id"] != "")
				full, err := d.engine.ContainerInspect(t.Context(), c.ID)
				require.NoError(t, err)
				env := strings.Join(full.Config.Env, "\n")
				require.Equal(t, generation == "head", strings.Contains(env, "SHIPFOX_RUNNER_BOOTSTRAP_TOKEN=sf_rbt_"))
				require.Equal(t, generation == "head", strings.Contains(env, "SHIPFOX_RUNNER_PROVIDER_KIND=docker"))
				require.Equal(t, generation == "pr", strings.Contains(env, "SHIPFOX_RUNNER_REGISTRATION_TOKEN=sf_ert_"))
				require.Contains(t, env, "SHIPFOX_API_URL=")
				require.Contains(t, env, "SHIPFOX_RUNNER_LABELS=linux")
				require.Contains(t, env, "SHIPFOX_POLL_MAX_DURATION_MS=300000")
				require.Contains(t, env, "SHIPFOX_RUNNER_MAX_LIFETIME_SECONDS=3600")
			}

			// The reference's own, a former token's, and a near miss.
			newID := func() string { return uuid.Must(uuid.NewV7()).String() }
			reference := func(owner, runner string) map[string]string {
				return map[string]string{id: runner, "shipfox.provisioner_id": owner, "shipfox.reservation_id": newID(), "shipfox.template_key": "small",
					"shipfox.labels": "linux", "shipfox.runner_instance_id": newID()}
			}
			theirs, former, former2, miss := newID(), newID(), newID(), newID()
			oldOwner := newID()
			d.put(theirs, reference(d.owner, theirs))
			d.put(former, reference(oldOwner, former))
			d.put(former2, reference(newID(), former2))
			missed := d.put("not-"+miss, reference(d.owner, miss))

			again := d.start("--adopt-owner", oldOwner)
			again.ready()
			again.says("there are runners of other provisioners on this engine")
			require.Equal(t, 1, strings.Count(again.output(), "there are runners of other provisioners"), "in one warning, however many")
			held := map[string]bool{}
			for _, r := range again.state(t).State.Runners {
				held[r.ID] = true
			}
			require.Equal(t, map[string]bool{ours[0].Labels[id]: true, ours[1].Labels[id]: true, theirs: true, former: true}, held)
			require.Equal(t, 0, again.state(t).State.Templates[0].Free, "what was adopted takes its slot")
			for _, c := range ours {
				d.touch(c.ID, "/tmp/go")
			}
			require.Eventually(t, func() bool {
				return d.world.Count(t)[queue.StateSucceeded] == 2 && len(d.containers()) == 2
			}, patience, 50*time.Millisecond, "the jobs end and are cleared away: %v", d.world.Count(t))
			c, err := d.engine.ContainerInspect(t.Context(), missed)
			require.NoError(t, err)
			require.True(t, c.State.Running, "a near miss is not touched")
		})
	}
}
