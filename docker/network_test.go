package docker_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/docker"
	"github.com/slipway-ci/slipway/internal/enginetest"
)

// Runners reach the host where Gateway says, and not each other.
func TestRunnersReachTheHostAndNotEachOther(t *testing.T) {
	t.Parallel()
	b := open(t, ownNetwork)
	gateway, err := b.Gateway(t.Context())
	require.NoError(t, err)
	listener, err := net.Listen("tcp", net.JoinHostPort(gateway.String(), "0"))
	require.NoError(t, err)
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			fmt.Fprintln(conn, "hello from the host")
			_ = conn.Close()
		}
	}()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)

	server := shell(t, "echo ready; while true; do echo hello from a neighbour | nc -l -p 7000; done")
	require.NoError(t, b.Launch(t.Context(), server))
	addresses := inspect(t, server.ID).NetworkSettings.Networks
	require.Len(t, addresses, 1)
	var neighbour string
	for _, n := range addresses {
		neighbour = n.IPAddress
	}
	text, _ := output(t, b, shell(t, fmt.Sprintf(
		"nc -w 5 %s %s </dev/null; nc -w 1 %s 7000 </dev/null || echo no neighbour", gateway, port, neighbour)))
	require.Contains(t, text, "hello from the host")
	require.Contains(t, text, "no neighbour")
	require.NotContains(t, text, "hello from a neighbour")

	// The neighbour does listen: the host reaches it.
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", net.JoinHostPort(neighbour, "7000"))
		if err != nil {
			return false
		}
		defer conn.Close()
		line, _ := bufio.NewReader(conn).ReadString('\n')
		return strings.Contains(line, "hello from a neighbour")
	}, patience, 50e6)
}

// However many processes of one owner need the network at once, there is one.
func TestNetworkIsMadeOnce(t *testing.T) {
	t.Parallel()
	first := open(t, ownNetwork)
	owner := ownerOf(t, first)
	backends := []*docker.Backend{first}
	for range 3 {
		b, err := docker.New(docker.Config{Owner: owner, Host: enginetest.Host(t)})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, b.Close()) })
		backends = append(backends, b)
	}
	var wg sync.WaitGroup
	errs := make([]error, 12)
	for i := range errs {
		wg.Go(func() { _, errs[i] = backends[i%len(backends)].Gateway(t.Context()) })
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	require.Len(t, networksOf(t, owner), 1)
}

// ownerOf makes the owner's network, and reads the owner from it.
func ownerOf(t *testing.T, b *docker.Backend) string {
	t.Helper()
	spec := sleeper(t)
	require.NoError(t, b.Launch(t.Context(), spec))
	owner := inspect(t, spec.ID).Config.Labels["slipway.owner"]
	require.NoError(t, b.Purge(t.Context()))
	require.Empty(t, networksOf(t, owner))
	return owner
}

func networksOf(t *testing.T, owner string) []network.Summary {
	t.Helper()
	all, err := enginetest.Engine(t).NetworkList(t.Context(), network.ListOptions{})
	require.NoError(t, err)
	var out []network.Summary
	for _, n := range all {
		if n.Labels["slipway.owner"] == owner {
			out = append(out, n)
		}
	}
	return out
}

// Operators prune networks that nothing uses.
func TestNetworkComesBack(t *testing.T) {
	t.Parallel()
	b := open(t, ownNetwork)
	spec := sleeper(t)
	require.NoError(t, b.Launch(t.Context(), spec))
	name := string(inspect(t, spec.ID).HostConfig.NetworkMode)
	require.NoError(t, b.Remove(t.Context(), spec.ID))
	engine := enginetest.Engine(t)
	require.NoError(t, engine.NetworkRemove(t.Context(), name))

	again := sleeper(t)
	require.NoError(t, b.Launch(t.Context(), again))
	require.Equal(t, backend.Running, await(t, b, again.ID, func(s backend.State) bool { return s == backend.Running }).State)
	n, err := engine.NetworkInspect(t.Context(), name, network.InspectOptions{})
	require.NoError(t, err)
	require.Equal(t, "false", n.Options["com.docker.network.bridge.enable_icc"])
}

// A network of our name that is somebody else's is not used, nor removed.
func TestForeignNetworkIsRefused(t *testing.T) {
	t.Parallel()
	b := open(t, ownNetwork)
	spec := sleeper(t)
	require.NoError(t, b.Launch(t.Context(), spec))
	name := string(inspect(t, spec.ID).HostConfig.NetworkMode)
	require.NoError(t, b.Purge(t.Context()))
	engine := enginetest.Engine(t)
	foreign, err := engine.NetworkCreate(t.Context(), name, network.CreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, engine.NetworkRemove(context.WithoutCancel(t.Context()), foreign.ID)) })

	spec.ID = newID()
	require.ErrorIs(t, b.Launch(t.Context(), spec), backend.ErrRefused)
	nothing(t, spec.ID)
	_, err = b.Gateway(t.Context())
	require.ErrorIs(t, err, backend.ErrRefused)
	require.NoError(t, b.Purge(t.Context()))
	_, err = engine.NetworkInspect(t.Context(), foreign.ID, network.InspectOptions{})
	require.NoError(t, err, "Purge removed a network of somebody else")
}

func TestGatewayOfAGivenNetwork(t *testing.T) {
	t.Parallel()
	b := open(t, func(c *docker.Config) { c.Network = "bridge" })
	addr, err := b.Gateway(t.Context())
	require.NoError(t, err)
	require.True(t, addr.IsPrivate(), "%v", addr)
	_, err = open(t).Gateway(t.Context())
	require.ErrorContains(t, err, "none", "a network without a gateway")
}

// Purge takes running ones too, and nothing of another owner's.
func TestPurge(t *testing.T) {
	t.Parallel()
	b, other := open(t, ownNetwork), open(t, ownNetwork)
	mine, theirs := sleeper(t), sleeper(t)
	require.NoError(t, b.Launch(t.Context(), mine))
	require.NoError(t, other.Launch(t.Context(), theirs))
	require.NoError(t, b.Purge(t.Context()))
	nothing(t, mine.ID)
	require.Equal(t, container.StateRunning, inspect(t, theirs.ID).State.Status)
	require.NoError(t, b.Purge(t.Context()), "twice")
	mine.ID = newID()
	require.NoError(t, b.Launch(t.Context(), mine), "and all begins anew")
}

// An engine that has miscounted does not let go of a network; one in use is
// another matter.
func TestNetworkHeld(t *testing.T) {
	t.Parallel()
	proxy := enginetest.NewProxy(t)
	b := open(t, over(proxy), ownNetwork)
	_, err := b.Gateway(t.Context())
	require.NoError(t, err)
	proxy.Answer(func(w http.ResponseWriter, r *http.Request) enginetest.Fault {
		if r.Method == "DELETE" && strings.Contains(r.URL.Path, "/networks/") {
			return enginetest.Refuse(w, http.StatusForbidden, "network x has active endpoints")
		}
		return enginetest.Pass
	})
	require.ErrorIs(t, b.Purge(t.Context()), docker.ErrNetworkHeld)
	proxy.Answer(nil)

	spec := sleeper(t)
	require.NoError(t, b.Launch(t.Context(), spec))
	engine := enginetest.Engine(t)
	foreign, err := engine.ContainerCreate(t.Context(), &container.Config{Image: spec.Image, Entrypoint: []string{"/bin/sleep", "600"}},
		&container.HostConfig{NetworkMode: inspect(t, spec.ID).HostConfig.NetworkMode}, nil, nil, "")
	require.NoError(t, err)
	remove := func() {
		_ = engine.ContainerRemove(context.WithoutCancel(t.Context()), foreign.ID, container.RemoveOptions{Force: true})
	}
	t.Cleanup(remove)
	require.NoError(t, engine.ContainerStart(t.Context(), foreign.ID, container.StartOptions{}))
	err = b.Purge(t.Context())
	require.ErrorContains(t, err, "active endpoints")
	require.NotErrorIs(t, err, docker.ErrNetworkHeld, "somebody uses it")
	nothing(t, spec.ID)
	remove()
}
