//go:build linux

package install

import (
	"archive/tar"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/internal/enginetest"
	"github.com/slipway-ci/slipway/internal/release"
	"github.com/slipway-ci/slipway/tokens"
)

// realHost is this machine, its engine, and a hub with the real agent.
type realHost struct {
	*playedHub
	t      *testing.T
	engine *client.Client
	root   string
	key    release.PublicKey
	path   string // PATH
	ca     string // the file of the authority that the hub's certificate is of
	env    []string
}

func newRealHost(t *testing.T) *realHost {
	engine := enginetest.Engine(t)
	for _, tool := range []string{"docker", "curl", "sha256sum", "tar", "install"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no %s here", tool)
		}
	}
	if os.Geteuid() != 0 || engine.DaemonHost() != "unix:///var/run/docker.sock" {
		t.Skip("the script is for root, and for the engine of this machine")
	}
	agents := t.TempDir()
	program := filepath.Join(agents, "slipway-agent-linux-"+runtime.GOARCH)
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", program, "github.com/slipway-ci/slipway/cmd/slipway-agent")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	private, public, err := release.GenerateKey()
	require.NoError(t, err)
	m, err := release.Describe(program, "v1.4.0", "linux", runtime.GOARCH)
	require.NoError(t, err)
	m, err = release.Sign(m, private)
	require.NoError(t, err)
	require.NoError(t, release.Write(program+".manifest", m))
	require.NoError(t, release.WritePublicKey(filepath.Join(agents, keyFile), public))
	h := &realHost{t: t, engine: engine, root: t.TempDir(), key: public, path: os.Getenv("PATH")}
	h.playedHub = realHub(t, agents, h.root)
	h.ca = filepath.Join(h.root, "etc", h.name, "ca.pem")
	require.NoError(t, os.MkdirAll(filepath.Dir(h.ca), 0o755))
	require.NoError(t, os.WriteFile(h.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.certificate}), 0o644))
	h.env = []string{"SLIPWAY_CA_FILE=" + h.ca}
	t.Cleanup(func() { forget(t, engine, h.name) })
	return h
}

// shell runs a command line without a terminal to ask on.
func (h *realHost) shell(line string, args ...string) {
	h.t.Helper()
	cmd := exec.CommandContext(h.t.Context(), "bash", append([]string{"-c", line, "_"}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Env = append(os.Environ(), append(h.env, "PATH="+h.path)...)
	out, err := cmd.CombinedOutput()
	require.NoError(h.t, err, string(out))
	require.NotContains(h.t, string(out), h.enrolment.Reveal())
	h.t.Log(string(out))
}

func (h *realHost) install(args ...string) {
	h.t.Helper()
	h.shell("curl --cacert "+h.ca+" -fsSL "+h.url+Prefix+h.enrolment.Reveal()+".sh | bash -s -- \"$@\"", args...)
}

func (h *realHost) uninstall() {
	h.t.Helper()
	h.shell("bash \"$1\"", filepath.Join(h.root, "usr/local/lib", h.name, "uninstall"))
	require.NoDirExists(h.t, filepath.Join(h.root, "usr/local/lib", h.name))
	require.NoDirExists(h.t, filepath.Join(h.root, "var/lib", h.name))
	require.NoFileExists(h.t, filepath.Join(h.root, "etc", h.name, "agent.env"))
}

// TestRealService has the script install the real agent as a service, where a
// stand-in plays systemd: the agent's own commands are what this proves.
func TestRealService(t *testing.T) {
	h := newRealHost(t)
	bin := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(bin, "systemctl"), []byte("#!/usr/bin/env bash\nexit 0\n"), 0o755))
	require.NoError(t, os.MkdirAll(filepath.Join(h.root, "run/systemd/system"), 0o755))
	h.path = bin + ":" + h.path
	h.install()
	first := h.digests()
	require.Len(t, first, 1)
	h.env = nil // agent.env has it
	h.install()
	require.Equal(t, first, h.digests(), "the identity is kept")
	data := filepath.Join(h.root, "var/lib", h.name)
	require.Equal(t, h.key.Text(), readFile(t, filepath.Join(data, keyFile)))
	info, err := os.Stat(filepath.Join(data, "token"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	require.Contains(t, readFile(t, filepath.Join(data, "agent.json")), h.url)
	h.uninstall()
}

// TestRealContainer has the script install the real agent on the real engine, as a
// container, and remove it: the flags of the engine's commands and the way of the
// enrolment are what no stand-in proves.
func TestRealContainer(t *testing.T) {
	h := newRealHost(t)
	engine, hub := h.engine, h.playedHub
	h.install("--container")
	first := hub.digests()
	require.Len(t, first, 1)
	require.Equal(t, h.key.Text(), inVolume(t, engine, hub.name, keyFile))
	running := inspect(t, engine, hub.name)
	require.True(t, running.State.Running)
	require.Equal(t, []string{"run", "--data", "/var/lib/slipway-agent"}, []string(running.Config.Cmd))
	select {
	case <-hub.dialed:
	case <-time.After(time.Minute):
		t.Fatal("the agent that runs does not reach the hub")
	}
	require.Equal(t, "slipway-agent:v1.4.0", strings.Replace(running.Config.Image, hub.name, "slipway-agent", 1))

	// The same line again: the same agent as before.
	h.env = nil
	again := []string{"--container"}
	if sharedRoot(t) { // else the engine refuses that, as it says
		again = append(again, "--host-root")
	}
	h.install(again...)
	require.Equal(t, first, hub.digests(), "the identity is kept")
	require.Eventually(t, func() bool { return inspect(t, engine, hub.name).State.Running }, 30*time.Second, 50*time.Millisecond)

	h.uninstall()
	_, err := engine.ContainerInspect(t.Context(), hub.name)
	require.True(t, errdefs.IsNotFound(err), "the container is gone: %v", err)
	_, err = engine.VolumeInspect(t.Context(), hub.name)
	require.True(t, errdefs.IsNotFound(err), "the volume is gone: %v", err)
	_, err = engine.ImageInspect(t.Context(), hub.name+":v1.4.0")
	require.True(t, errdefs.IsNotFound(err), "the image is gone: %v", err)
}

// sharedRoot says whether mounts of this machine reach others, as where systemd runs.
func sharedRoot(t *testing.T) bool {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		if len(fields) > 6 && fields[4] == "/" {
			return strings.HasPrefix(fields[6], "shared:")
		}
	}
	return false
}

type playedHub struct {
	url, name string
	enrolment tokens.Token
	asked     chan string
	dialed    chan struct{} // by agents that run
	seen      []string

	certificate []byte
}

// digests are those that agents have enrolled with, each once.
func (h *playedHub) digests() []string {
	for {
		select {
		case digest := <-h.asked:
			if len(h.seen) == 0 || h.seen[len(h.seen)-1] != digest {
				h.seen = append(h.seen, digest)
			}
		default:
			return h.seen
		}
	}
}

// realHub serves the real routes of this package, and takes every agent's digest.
func realHub(t *testing.T, agents, root string) *playedHub {
	h := &playedHub{name: "slipway-agent-test-" + uuid.NewString()[:8], enrolment: tokens.New(tokens.Enrolment), asked: make(chan string, 16), dialed: make(chan struct{}, 1)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/agent/enrol", func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Agent, Digest string }
		if r.Header.Get("Authorization") != "Bearer "+h.enrolment.Reveal() || json.NewDecoder(r.Body).Decode(&body) != nil {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		h.asked <- body.Agent + " " + body.Digest
		fmt.Fprintf(w, `{"host": %q, "name": "builder-01", "owner": %q}`, h.name, h.name)
	})
	mux.HandleFunc("GET /api/v1/agent/connect", func(w http.ResponseWriter, _ *http.Request) {
		select {
		case h.dialed <- struct{}{}:
		default:
		}
		http.Error(w, "not now", http.StatusServiceUnavailable)
	})
	server := httptest.NewTLSServer(mux)
	t.Cleanup(server.Close)
	h.url, h.certificate = server.URL, server.Certificate().Raw
	install, err := New(Config{
		Hosts:     InviterFunc(func(context.Context, tokens.Token) (Invited, error) { return Invited{Host: "builder-01"}, nil }),
		PublicURL: server.URL, AgentsDir: agents, name: h.name, root: root,
	})
	require.NoError(t, err)
	mux.Handle(Prefix, install)
	return h
}

func inspect(t *testing.T, engine *client.Client, name string) container.InspectResponse {
	t.Helper()
	found, err := engine.ContainerInspect(t.Context(), name)
	require.NoError(t, err)
	return found
}

// inVolume reads a file of the agent's data folder.
func inVolume(t *testing.T, engine *client.Client, name, file string) string {
	t.Helper()
	stream, _, err := engine.CopyFromContainer(t.Context(), name, "/var/lib/slipway-agent/"+file)
	require.NoError(t, err)
	defer func() { require.NoError(t, stream.Close()) }()
	archive := tar.NewReader(stream)
	_, err = archive.Next()
	require.NoError(t, err)
	text, err := io.ReadAll(archive)
	require.NoError(t, err)
	return string(text)
}

// forget takes away what a failed test leaves.
func forget(t *testing.T, engine *client.Client, name string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	for _, err := range []error{
		engine.ContainerRemove(ctx, name, container.RemoveOptions{Force: true}),
		engine.VolumeRemove(ctx, name, true),
		func() error {
			_, err := engine.ImageRemove(ctx, name+":v1.4.0", image.RemoveOptions{Force: true})
			return err
		}(),
	} {
		if err != nil && !errdefs.IsNotFound(err) {
			t.Errorf("clean up: %v", err)
		}
	}
}
