package hub

import (
	"os"
	"path/filepath"
	"regexp"
)

// sysNet is where the kernel describes network devices
// (Documentation/ABI/testing/sysfs-class-net).
var sysNet = "/sys/class/net"

// bridgeName are the names that container engines give their bridges: Docker's,
// Slipway's own, Podman's and those of the CNI plugins.
var bridgeName = regexp.MustCompile(`^(docker[0-9]+|br-[0-9a-f]{12}|slw[0-9a-f]{12}|podman[0-9]+|cni-?[a-z0-9]+)$`)

func isContainerBridge(name string) bool {
	if !bridgeName.MatchString(name) {
		return false
	}
	if _, err := os.Stat(filepath.Join(sysNet, name, "bridge")); err != nil {
		return false
	}
	members, err := os.ReadDir(filepath.Join(sysNet, name, "brif"))
	if err != nil {
		return false
	}
	for _, m := range members {
		// A device of its own (a card), or one on top of another (VLAN, bond), leads elsewhere.
		device := filepath.Join(sysNet, m.Name())
		if _, err := os.Stat(filepath.Join(device, "device")); err == nil {
			return false
		}
		if lower, _ := filepath.Glob(filepath.Join(device, "lower_*")); len(lower) > 0 {
			return false
		}
	}
	return true
}
