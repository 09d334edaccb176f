package policy

import (
	"errors"
	"fmt"
	"math"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Rules are what agent.yaml says, by the same names. The zero value is the
// default policy. A list that is nil is not the same as an empty one.
type Rules struct {
	// Images are patterns of images in canonical form; see docs/agent-policy.md.
	// Nil: any image. Empty: none.
	Images []string
	// Runtimes are names of OCI runtimes; "default" stands for naming none. Nil: any
	// that the engine was given by a plain name. Empty: none.
	Runtimes []string
	// Networks are names of networks beyond the agent's own and "none". Default: none.
	Networks []string
	// ForbidVolumes forbids cache volumes (volumes: false).
	ForbidVolumes bool
	// Binds are the folders of the host that may be mounted, and what is below them.
	// Default: none.
	Binds []Bind
	// Privileged allows privileged runners.
	Privileged bool
	// Capabilities may be added, besides those that every container has. Default: none.
	Capabilities []string
	// ForbidNewPrivileges wants no-new-privileges on every runner (new_privileges: false).
	ForbidNewPrivileges bool
	// GPUs are the ids of the devices that may be asked for. Nil: any. Empty: none.
	GPUs []string
	// ForbidInjection forbids to put the runner program into containers
	// (inject_runner: false).
	ForbidInjection bool
	// ForbidUpdates forbids the hub to have the agent update itself (updates: false).
	ForbidUpdates bool
	// MaxRunners is how many runners may live at once. Default 0: no bound of the policy's.
	MaxRunners int
	// MaxCPU, in virtual CPUs, is the most for one runner; likewise MaxMemory and
	// MaxShm, in bytes, and MaxPids. A runner must then ask for a limit. Default 0: no bound.
	MaxCPU                     float64
	MaxMemory, MaxShm, MaxPids int64
}

// Bind is a folder of the host that may be mounted.
type Bind struct {
	// Path is absolute and clean.
	Path string
	// ReadOnly allows to mount it read-only alone.
	ReadOnly bool
}

// Policy judges launches. Its methods may be called from many goroutines at once.
type Policy struct {
	rules  Rules
	images []pattern

	mu        sync.RWMutex
	protected []string
}

// Default is the policy without an agent.yaml: nothing privileged, nothing of the
// host mounted, no foreign network.
func Default() *Policy {
	p, err := New(Rules{})
	if err != nil {
		panic(err) // the zero value is sound: a test holds it
	}
	return p
}

// New makes a policy of rules. Errors name the key.
func New(rules Rules) (*Policy, error) {
	p := &Policy{rules: rules, protected: slices.Clone(alwaysProtected)}
	var errs []error
	bad := func(key string, err error) { errs = append(errs, fmt.Errorf("%s: %w", key, err)) }
	for _, text := range rules.Images {
		one, err := parsePattern(text)
		if err != nil {
			bad("images", err)
		}
		p.images = append(p.images, one)
	}
	for key, check := range map[string]struct {
		values []string
		rule   func(string) error
	}{
		"runtimes": {rules.Runtimes, checkRuntime}, "networks": {rules.Networks, checkNetwork},
		"capabilities": {rules.Capabilities, checkCapability}, "gpus": {rules.GPUs, checkGPU},
	} {
		for _, value := range check.values {
			if err := check.rule(value); err != nil {
				bad(key, err)
			}
		}
	}
	for _, b := range rules.Binds {
		if err := checkBind(b.Path); err != nil {
			bad("binds", err)
		}
	}
	if c := rules.MaxCPU; math.IsNaN(c) || c < 0 || c > maxCPU || c > 0 && nanos(c) == 0 {
		bad("max_cpu", fmt.Errorf("%v: 0 to %d are allowed", c, maxCPU))
	}
	for key, n := range map[string]int64{
		"max_memory": rules.MaxMemory, "max_shm": rules.MaxShm, "max_pids": rules.MaxPids, "max_runners": int64(rules.MaxRunners),
	} {
		if n < 0 {
			bad(key, fmt.Errorf("%d is below 0", n))
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return p, nil
}

// maxCPU bounds what is written, so that a slip shows.
const maxCPU = 1_000_000

// Protect adds paths of the host that are never mounted into a runner, whatever
// agent.yaml says: neither they, nor what is below them, nor a folder that they
// are in. The agent's data folder and the engine's socket belong here.
func (p *Policy) Protect(paths ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range paths {
		if path.IsAbs(one) {
			p.protected = append(p.protected, path.Clean(one))
		}
	}
}

// AllowsUpdate says whether the hub may have the agent update itself.
func (p *Policy) AllowsUpdate() bool { return !p.rules.ForbidUpdates }

// MaxRunners is the most runners at once, for docker.Config.MaxRunners; 0: no bound.
func (p *Policy) MaxRunners() int { return p.rules.MaxRunners }

// Binds are the folders that may be mounted, for docker.Config.AllowedBinds.
func (p *Policy) Binds() []string {
	var out []string
	for _, b := range p.rules.Binds {
		out = append(out, b.Path)
	}
	return out
}

// plainName is what a runtime or network that somebody gave the engine is called.
// A runtime with a dot or a slash may be any program of the host.
var (
	plainName   = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_-]{0,127}$`)
	networkName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$`)
)

func checkRuntime(name string) error {
	if !networkName.MatchString(name) {
		return fmt.Errorf("%q is no name of a runtime", name)
	}
	return nil
}

func checkNetwork(name string) error {
	switch {
	case name == "host" || strings.HasPrefix(name, "container:"):
		return fmt.Errorf("%q can't be allowed: a runner in the network of the host, or of another container, is not apart from it", name)
	case !networkName.MatchString(name):
		return fmt.Errorf("%q is no name of a network", name)
	}
	return nil
}
