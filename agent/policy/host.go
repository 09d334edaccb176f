package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/network"

	"github.com/slipway-ci/slipway/docker"
)

// defaultRuntime stands in agent.yaml for a launch that names no runtime.
const defaultRuntime = "default"

func (p *Policy) judgeRuntime(r *docker.Request) *Refusal {
	name := r.Host.Runtime
	if p.rules.Runtimes == nil && (name == "" || plainName.MatchString(name)) {
		return nil
	}
	if name == "" {
		name = defaultRuntime
	} else if name == defaultRuntime {
		return never("runtimes", "%q is no runtime's name here", name)
	}
	if slices.Contains(p.rules.Runtimes, name) {
		return nil
	}
	if checkRuntime(name) != nil {
		return never("runtimes", "the runtime %s is no name that the engine was given", short(name))
	}
	return unless("runtimes", fmt.Sprintf("runtimes: [%q]", name), "the runtime %s is not allowed", short(name))
}

// judgeNetwork allows the agent's own network, none at all, and those that are
// named. The engine takes a mode that it knows no word for as a network's name.
func (p *Policy) judgeNetwork(r *docker.Request) *Refusal {
	mode := r.Host.NetworkMode
	name := string(mode)
	switch {
	case mode.IsHost() || mode.IsContainer() || strings.HasPrefix(name, "container"):
		return never("networks", "the network %s: that of the host, or of another container, is never a runner's", short(name))
	case mode.IsNone():
	case name != "" && name == r.DefaultNetwork:
	case slices.Contains(p.rules.Networks, name):
	case checkNetwork(name) != nil:
		return never("networks", "%s is no name of a network", short(name))
	default:
		return unless("networks", fmt.Sprintf("networks: [%q]", name), "the network %s is not allowed", short(name))
	}
	return judgeNewNetwork(r)
}

// bridgeForm is a device's name; the kernel takes 15 characters.
var bridgeForm = regexp.MustCompile(`^[a-z0-9]{1,15}$`)

// judgeNewNetwork looks at the network that is created with the launch: a bridge
// without traffic between its containers, and nothing else.
func judgeNewNetwork(r *docker.Request) *Refusal {
	n := r.Network
	if n == nil {
		return nil
	}
	ours := n.Driver == network.NetworkBridge && n.Name == r.DefaultNetwork && string(r.Host.NetworkMode) == n.Name &&
		len(n.Options) == 2 && n.Options["com.docker.network.bridge.enable_icc"] == "false" &&
		bridgeForm.MatchString(n.Options["com.docker.network.bridge.name"])
	if !ours {
		return never("networks", "the network %s is to be created, and is not the agent's own", short(n.Name))
	}
	return nil
}

// everyContainers are the capabilities that the engine gives a container that
// asks for none.
// Source: github.com/moby/moby/blob/master/oci/caps/defaults.go.
var everyContainers = []string{
	"CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP", "SETPCAP",
	"NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE",
}

// allCapabilities is the engine's word for every one.
const allCapabilities = "ALL"

var capabilityForm = regexp.MustCompile(`^[A-Z][A-Z0-9_]{0,63}$`)

func capability(name string) string { return strings.TrimPrefix(strings.ToUpper(name), "CAP_") }

func checkCapability(name string) error {
	if !capabilityForm.MatchString(capability(name)) {
		return fmt.Errorf("%q is no name of a capability", name)
	}
	return nil
}

func (p *Policy) judgeCapabilities(r *docker.Request) *Refusal {
	for _, name := range slices.Concat(r.Host.CapAdd, r.Host.CapDrop) {
		if checkCapability(name) != nil {
			return never("capabilities", "%s is no name of a capability", short(name))
		}
	}
	for _, name := range r.Host.CapAdd {
		one := capability(name)
		allowed := slices.Contains(everyContainers, one) || slices.ContainsFunc(p.rules.Capabilities, func(listed string) bool {
			listed = capability(listed)
			return listed == one || listed == allCapabilities
		})
		if !allowed {
			return unless("capabilities", fmt.Sprintf("capabilities: [%s]", one), "the capability %s is not allowed", one)
		}
	}
	return nil
}

// noNewPrivileges is the one security option that a launch sets. The others
// (seccomp, apparmor, label, systempaths) take guards away.
const noNewPrivileges = "no-new-privileges"

func (p *Policy) judgeSecurity(r *docker.Request) *Refusal {
	for _, option := range r.Host.SecurityOpt {
		if option != noNewPrivileges {
			return never("security", "the security option %s", short(option))
		}
	}
	if p.rules.ForbidNewPrivileges && len(r.Host.SecurityOpt) == 0 {
		return unless("new_privileges", "new_privileges: true", "processes of the runner may gain privileges")
	}
	return nil
}
