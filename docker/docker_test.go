package docker_test

import (
	"context"
	"io"
	"log"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/docker"
	"github.com/slipway-ci/slipway/internal/enginetest"
)

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "ssh" {
		os.Exit(sshMain())
	}
	goleak.VerifyTestMain(m)
}

// sshMain is the far end of ssh: what comes in goes to the engine's socket.
func sshMain() int {
	if !strings.HasSuffix(strings.Join(os.Args, " "), "system dial-stdio") {
		return 2
	}
	conn, err := net.Dial("unix", os.Getenv("TEST_ENGINE_SOCKET"))
	if err != nil {
		return 1
	}
	go func() {
		_, _ = io.Copy(conn, os.Stdin)
		_ = conn.(*net.UnixConn).CloseWrite()
	}()
	_, _ = io.Copy(os.Stdout, conn)
	return 0
}

// patience bounds a wait; the engine is on this machine.
const patience = 30 * time.Second

// open opens a Backend of an owner of its own. With the test all of the owner's
// goes, and nothing may be left. No test but those of the grace waits for one. Without a network runners start faster: tests of networks
// set Network to "".
func open(t testing.TB, change ...func(*docker.Config)) *docker.Backend {
	t.Helper()
	c := docker.Config{Owner: enginetest.Owner(t), Network: "none", Host: enginetest.Host(t), StopGrace: -1}
	for _, f := range change {
		f(&c)
	}
	b, err := docker.New(c)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, purge(t, b))
		require.NoError(t, b.Close())
	})
	return b
}

// over sets the Backend's host to a proxy.
func over(p *enginetest.Proxy) func(*docker.Config) {
	return func(c *docker.Config) { c.Host = p.Host }
}

func ownNetwork(c *docker.Config) { c.Network = "" }

func newID() string { return uuid.Must(uuid.NewV7()).String() }

// sleeper is a spec whose runner runs until it is removed.
func sleeper(t testing.TB) backend.Spec {
	return backend.Spec{
		ID: newID(), Image: enginetest.BusyboxImage(t), PullPolicy: backend.PullNever,
		Entrypoint: []string{"/bin/sleep"}, Command: []string{"600"},
	}
}

// shell is a spec whose runner runs a script of sh.
func shell(t testing.TB, text string) backend.Spec {
	spec := sleeper(t)
	spec.Entrypoint, spec.Command = []string{"/bin/sh", "-c"}, []string{text}
	return spec
}

// find lists, and returns the runner.
func find(t testing.TB, b backend.Backend, id string) (backend.Runner, bool) {
	t.Helper()
	listing, err := b.List(t.Context())
	require.NoError(t, err)
	for _, r := range listing.Runners {
		if r.ID == id {
			return r, true
		}
	}
	return backend.Runner{}, false
}

// await waits until the runner is in the state.
func await(t testing.TB, b backend.Backend, id string, in func(backend.State) bool) backend.Runner {
	t.Helper()
	var last backend.Runner
	require.Eventually(t, func() bool {
		r, ok := find(t, b, id)
		last = r
		return ok && in(r.State)
	}, patience, 20*time.Millisecond, "last seen: %+v", last)
	return last
}

// output runs the spec to its end, and returns what it printed.
func output(t testing.TB, b *docker.Backend, spec backend.Spec) (string, backend.Runner) {
	t.Helper()
	require.NoError(t, b.Launch(t.Context(), spec))
	r := await(t, b, spec.ID, backend.State.Ended)
	return printed(t, b, spec.ID), r
}

func printed(t testing.TB, b *docker.Backend, id string) string {
	t.Helper()
	logs, err := b.Logs(t.Context(), id, 0)
	require.NoError(t, err)
	defer logs.Close()
	text, err := io.ReadAll(logs)
	require.NoError(t, err)
	return string(text)
}

// inspect asks the engine itself.
func inspect(t testing.TB, id string) container.InspectResponse {
	t.Helper()
	c, err := enginetest.Engine(t).ContainerInspect(t.Context(), "slipway-"+id)
	require.NoError(t, err)
	return c
}

// nothing fails when the engine has a container of that id.
func nothing(t testing.TB, id string) {
	t.Helper()
	_, err := enginetest.Engine(t).ContainerInspect(context.WithoutCancel(t.Context()), "slipway-"+id)
	require.ErrorContains(t, err, "No such container")
}

func quiet() *log.Logger { return log.New(io.Discard, "", 0) }
