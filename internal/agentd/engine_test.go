package agentd

import (
	"context"
	"encoding/base64"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/internal/agentd/identity"
	"github.com/slipway-ci/slipway/internal/enginetest"
)

// ofEngine has an agent use an engine.
func ofEngine(host string) func(*Config) {
	return func(c *Config) { c.Backend, c.DockerHost = "docker", host }
}

// dockerHub is a hub whose host has an owner of its own on the engine, of which
// nothing may be left at the end.
func dockerHub(t *testing.T) *hub {
	t.Helper()
	owner := enginetest.Owner(t)
	h := newHub(t)
	h.set(func() { h.owner = owner })
	return h
}

// purgeLater removes what an owner has on an engine, with patience: one that hangs
// fails the test.
func purgeLater(t *testing.T, config Config, owners ...string) {
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
		defer cancel()
		require.NoError(t, config.purgeEngine(ctx, io.Discard, owners, true))
	})
}

func facts(c *conn) map[string]any {
	hello, _ := c.hello["hello"].(map[string]any)
	facts, _ := hello["facts"].(map[string]any)
	return facts
}

func TestAHostWithDocker(t *testing.T) {
	engine := enginetest.Engine(t)
	info, err := engine.Info(t.Context())
	require.NoError(t, err)
	h := dockerHub(t)
	data := h.enrolHere(t)
	config := Config{Data: data, Backend: "docker", DockerHost: enginetest.Host(t)}
	purgeLater(t, config, h.owner)
	a := start(t, data, ofEngine(config.DockerHost))
	c := h.session()
	require.Equal(t, info.ID, c.hello.text("hello", "engine"))
	require.Contains(t, facts(c)["runtimes"], "runc")
	require.Equal(t, info.ServerVersion, facts(c)["engine_version"])
	require.Equal(t, float64(info.NCPU), facts(c)["cpus"])
	disk, _ := facts(c)["disk"].(map[string]any)
	require.Positive(t, disk["total"], "the gauge is of the engine's own folder, %s", info.DockerRootDir)

	spec := func(more frame) frame {
		out := frame{"id": uuid.Must(uuid.NewV7()).String(), "image": enginetest.BusyboxImage(t), "pull_policy": "never", "command": []string{"sleep", "600"}}
		for k, v := range more {
			out[k] = v
		}
		return out
	}
	refused := c.ask(frame{"type": "launch", "id": 1, "timeout_ms": 20000, "spec": spec(frame{"privileged": true})})
	require.Equal(t, "refused", refused.text("error", "code"))
	require.Contains(t, refused.text("error", "message"), "rule privileged", "the policy judges what goes to the engine")
	meant := spec(nil)
	require.Nil(t, c.ask(frame{"type": "launch", "id": 2, "timeout_ms": 60000, "spec": meant})["error"])
	told(c, meant.text("id"), "running")
	a.stop()
	require.NoError(t, a.ended())

	var out strings.Builder
	require.NoError(t, config.purgeEngine(t.Context(), &out, []string{h.owner}, false))
	require.Contains(t, out.String(), "removed 0 runners")
	out.Reset()
	require.NoError(t, config.purgeEngine(t.Context(), &out, []string{h.owner}, true))
	require.Contains(t, out.String(), "removed 1 runner ")
}

func TestAnEngineThatComesAndGoes(t *testing.T) {
	t.Parallel()
	proxy := enginetest.NewProxy(t)
	proxy.Cut()
	h := dockerHub(t)
	data := h.enrolHere(t)
	a := start(t, data, ofEngine(proxy.Host))
	c := h.session()
	require.Empty(t, c.hello.text("hello", "engine"), "nobody knows it yet")
	c.wait("that it is blind", func(f frame) bool { return f.text("type") == "blind" })
	proxy.Mend()
	c = h.session()
	id := c.hello.text("hello", "engine")
	require.NotEmpty(t, id, "the hub is told who the engine is as soon as it can be asked")
	require.Contains(t, facts(c)["runtimes"], "runc")
	c.wait("the full list", func(f frame) bool { return f.text("type") == "runners" })
	proxy.Cut()
	c.wait("that it is blind", func(f frame) bool { return f.text("type") == "blind" })
	proxy.Mend()
	c.wait("the full list", func(f frame) bool { return f.text("type") == "runners" })
	require.Empty(t, h.arrived, "the same engine: the session goes on")

	a.stop()
	require.NoError(t, a.ended())
	proxy.Cut()
	start(t, data, ofEngine(proxy.Host))
	require.Equal(t, id, h.session().hello.text("hello", "engine"), "an engine that is down is the one that was there last")
	folder, err := identity.Find(data)
	require.NoError(t, err)
	who, err := folder.Identity()
	require.NoError(t, err)
	require.Equal(t, id, who.Engine)
}

// TestRunnersAreTheAgentItself has the real program, as it is installed, put itself
// into a container as the one-job runner.
func TestRunnersAreTheAgentItself(t *testing.T) {
	t.Parallel()
	h := dockerHub(t)
	program := filepath.Join(t.TempDir(), "slipway-agent")
	build := exec.CommandContext(t.Context(), "go", "build", "-ldflags", "-s -w", "-o", program, "../../cmd/slipway-agent")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	data := h.enrolHere(t)
	config := Config{Data: data, Backend: "docker", DockerHost: enginetest.Host(t)}
	purgeLater(t, config, h.owner)
	p := begin(t, program, "", []string{"DOCKER_HOST=" + config.DockerHost}, "run", "--data", data)
	c := h.session()
	id := uuid.Must(uuid.NewV7()).String()
	answer := c.ask(frame{"type": "launch", "id": 1, "timeout_ms": 60000, "spec": frame{
		"id": id, "image": enginetest.BusyboxImage(t), "pull_policy": "never", "inject_runner": true, "os": runtime.GOOS, "arch": runtime.GOARCH,
	}})
	require.Nil(t, answer["error"], "%v", answer)
	told(c, id, "failed")
	c.send(frame{"type": "logs", "id": 2, "timeout_ms": 20000, "runner": id})
	chunk := c.wait("its log", func(f frame) bool { return f.text("type") == "chunk" })
	text, err := base64.StdEncoding.DecodeString(chunk.text("data"))
	require.NoError(t, err)
	require.Contains(t, string(text), "slipway-runner: ", "it began as the runner, and missed its settings")
	require.Contains(t, string(text), "SHIPFOX_API_URL")
	p.signal(syscall.SIGTERM)
	require.Equal(t, 0, p.code())
}
