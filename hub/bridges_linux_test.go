package hub

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// device makes a network device as the kernel shows it.
func device(t *testing.T, root, name string, members ...string) {
	t.Helper()
	for _, folder := range append([]string{"bridge", "brif"}, members...) {
		require.NoError(t, os.MkdirAll(filepath.Join(root, name, folder), 0o700))
	}
}

func TestWhichBridgesAreContainers(t *testing.T) {
	root := t.TempDir()
	saved := sysNet
	sysNet = root
	t.Cleanup(func() { sysNet = saved })

	device(t, root, "docker0", "brif/veth1")
	device(t, root, "br-0123456789ab")
	device(t, root, "slw0123456789ab", "brif/veth2", "brif/veth3")
	device(t, root, "podman0")
	device(t, root, "br0", "brif/veth4")    // somebody's own
	device(t, root, "docker1", "brif/eth0") // a card was put into it
	device(t, root, "docker2", "brif/eth0.5")
	require.NoError(t, os.MkdirAll(filepath.Join(root, "veth1"), 0o700))
	require.NoError(t, os.MkdirAll(filepath.Join(root, "eth0", "device"), 0o700))
	require.NoError(t, os.MkdirAll(filepath.Join(root, "eth0.5", "lower_eth0"), 0o700))
	require.NoError(t, os.MkdirAll(filepath.Join(root, "docker3"), 0o700)) // no bridge at all

	for name, want := range map[string]bool{
		"docker0": true, "br-0123456789ab": true, "slw0123456789ab": true, "podman0": true,
		"br0": false, "docker1": false, "docker2": false, "docker3": false, "docker4": false, "eth0": false,
	} {
		require.Equal(t, want, isContainerBridge(name), name)
	}
}

func TestPublicAddressesAreNotServed(t *testing.T) {
	for text, want := range map[string]bool{
		"172.17.0.1/16": true, "10.1.2.3/8": true, "192.168.1.1/24": true, "fd00::1/64": true,
		"8.8.8.8/24": false, "fe80::1/64": false, "2001:db8::1/64": false,
	} {
		_, network, err := net.ParseCIDR(text)
		require.NoError(t, err)
		network.IP = net.IP(netip.MustParsePrefix(text).Addr().AsSlice())
		_, ok := bridgeAddress(network)
		require.Equal(t, want, ok, text)
	}
}
