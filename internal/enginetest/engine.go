// Package enginetest is for tests that need a Docker engine: it finds the engine
// or skips the test, makes an image without any registry, checks that nothing is
// left behind, and puts a proxy in front of the engine that can fail on demand.
package enginetest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"
	"github.com/stretchr/testify/require"
)

// RequireEnv, when it is "require", makes a missing engine a failure.
const RequireEnv = "TEST_DOCKER"

// patience bounds what the package asks the engine for.
const patience = 30 * time.Second

// Engine opens a client of the engine that DOCKER_HOST names, or of the local
// one. Where none answers the test is skipped, or fails when TEST_DOCKER=require.
// The client is closed with the test.
func Engine(t testing.TB) *client.Client {
	t.Helper()
	c, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err == nil {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err = c.Ping(ctx)
	}
	switch {
	case err == nil:
		t.Cleanup(func() { _ = c.Close() })
		return c
	case os.Getenv(RequireEnv) == "require":
		require.NoError(t, err, "%s=require, and no Docker engine answers", RequireEnv)
	}
	t.Skipf("no Docker engine answers: %v", err)
	return nil
}

// Host is the engine's address, for a Config.
func Host(t testing.TB) string {
	t.Helper()
	return Engine(t).DaemonHost()
}

// Owner makes up an owner's id. When the test and its later clean-ups are over,
// nothing that carries it as the value of a label may be left on the engine:
// else the test fails, and it is taken away.
func Owner(t testing.TB) string {
	t.Helper()
	random := make([]byte, 8)
	_, err := rand.Read(random)
	require.NoError(t, err)
	owner := "test-" + hex.EncodeToString(random)
	engine := Engine(t)
	t.Cleanup(func() {
		left := leftovers(t, engine, owner)
		if len(left) > 0 {
			t.Errorf("left on the engine: %s", strings.Join(left, ", "))
		}
	})
	return owner
}

// leftovers finds and removes what carries the owner.
func leftovers(t testing.TB, engine *client.Client, owner string) []string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	defer cancel()
	ours := func(labels map[string]string) bool {
		for _, value := range labels {
			if value == owner {
				return true
			}
		}
		return false
	}
	var left []string
	containers, err := engine.ContainerList(ctx, container.ListOptions{All: true})
	require.NoError(t, err)
	for _, c := range containers {
		if ours(c.Labels) {
			left = append(left, "container "+strings.Join(c.Names, ","))
			_ = engine.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true, RemoveVolumes: true})
		}
	}
	networks, err := engine.NetworkList(ctx, network.ListOptions{})
	require.NoError(t, err)
	for _, n := range networks {
		if ours(n.Labels) {
			err := engine.NetworkRemove(ctx, n.ID)
			if err != nil && strings.Contains(err.Error(), "active endpoints") && unused(ctx, engine, n.ID) {
				// github.com/moby/moby/issues/42119: nothing but a restart helps.
				t.Logf("the engine holds on to a network that nothing uses: %v", err)
				continue
			}
			left = append(left, "network "+n.Name)
		}
	}
	volumes, err := engine.VolumeList(ctx, volume.ListOptions{})
	require.NoError(t, err)
	for _, v := range volumes.Volumes {
		if ours(v.Labels) {
			left = append(left, "volume "+v.Name)
			_ = engine.VolumeRemove(ctx, v.Name, true)
		}
	}
	return left
}

func unused(ctx context.Context, engine *client.Client, id string) bool {
	n, err := engine.NetworkInspect(ctx, id, network.InspectOptions{})
	return err == nil && len(n.Containers) == 0
}

// transport speaks HTTP to the engine, whatever the path of the URL's host.
func transport(t testing.TB, host string) *http.Transport {
	t.Helper()
	at, ok := strings.CutPrefix(host, "unix://")
	scheme := "unix"
	if !ok {
		scheme = "tcp"
		at, ok = strings.CutPrefix(host, "tcp://")
	}
	if !ok {
		t.Skipf("the test needs a Docker engine at a socket without TLS, not at %s", host)
	}
	return &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, scheme, at)
		},
	}
}
