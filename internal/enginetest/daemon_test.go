package enginetest

import (
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/stretchr/testify/require"
)

// An engine of the test's own runs containers, survives a hard kill with them, and
// leaves nothing.
func TestDaemon(t *testing.T) {
	before := devices(t, "")
	var dir string
	var d *Daemon
	t.Run("lives", func(t *testing.T) {
		d = NewDaemon(t, "", "--live-restore")
		dir = d.dir
		image := d.Import()
		c := d.Client()
		made, err := c.ContainerCreate(t.Context(), &container.Config{Image: image, Cmd: []string{"sleep", "1000"}, StopTimeout: new(int)}, &container.HostConfig{NetworkMode: "host"}, nil, nil, "")
		require.NoError(t, err)
		require.NoError(t, c.ContainerStart(t.Context(), made.ID, container.StartOptions{}))
		d.Kill()
		_, err = c.Ping(t.Context())
		require.Error(t, err)
		d.Start()
		found, err := c.ContainerInspect(t.Context(), made.ID)
		require.NoError(t, err)
		require.True(t, found.State.Running, "it goes on through the kill: %+v", found.State)
		d.Kill() // what it leaves is found without it
	})
	_, err := os.Stat(dir)
	require.Equal(t, before, devices(t, "swt"+dir[len(dir)-6:]), "no device is left, and none is missing")
	require.ErrorIs(t, err, os.ErrNotExist)
	require.Empty(t, d.processes())
}

// devices are this machine's, ours among them. Those of other tests' containers,
// networks and engines come and go.
func devices(t *testing.T, ours string) (names []string) {
	t.Helper()
	all, err := net.Interfaces()
	require.NoError(t, err)
	for _, device := range all {
		others := slices.ContainsFunc([]string{"veth", "br-", "swt"}, func(prefix string) bool { return strings.HasPrefix(device.Name, prefix) })
		if !others || device.Name == ours {
			names = append(names, device.Name)
		}
	}
	return names
}
