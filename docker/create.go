package docker

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/versions"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/slipway-ci/slipway/backend"
)

// job is one launch, ready to be sent.
type job struct {
	spec       backend.Spec
	config     *container.Config
	host       *container.HostConfig
	platform   *ocispec.Platform
	ownNetwork bool     // the network is the owner's, which we create
	program    *program // nil: nothing is injected
	remade     bool     // what was half made is away, once
}

// job makes the engine's words of spec. Errors are ErrInvalid or ErrRefused.
func (b *Backend) job(spec backend.Spec) (*job, error) {
	if !canonical(spec.ID) {
		return nil, invalid("id %q is no canonical UUID", spec.ID)
	}
	if spec.Image == "" {
		return nil, invalid("no image")
	}
	labels, err := b.config.Schema.encode(b.config.Owner, spec.ID, spec.Labels)
	if err != nil {
		return nil, as(backend.ErrInvalid, err)
	}
	env, err := environment(spec.Env)
	if err != nil {
		return nil, as(backend.ErrInvalid, err)
	}
	if _, err := b.pullRule(spec); err != nil {
		return nil, err
	}
	if b.config.Review != nil {
		if spec.Image, err = canonicalImage(spec.Image); err != nil {
			return nil, err
		}
	}
	j := &job{spec: spec, config: &container.Config{
		Image: spec.Image, Entrypoint: slices.Clone(spec.Entrypoint), Cmd: slices.Clone(spec.Command),
		User: spec.User, Env: env, Labels: labels,
	}}
	if j.host, err = b.hostConfig(spec); err != nil {
		return nil, err
	}
	if spec.OS != "" || spec.Arch != "" {
		j.platform = &ocispec.Platform{OS: spec.OS, Architecture: spec.Arch}
	}
	if spec.Network == "" && b.config.Network == "" {
		j.ownNetwork = true
		j.host.NetworkMode = container.NetworkMode(b.networkName())
	}
	if spec.InjectRunner {
		err = b.inject(j)
	}
	return j, err
}

func (b *Backend) hostConfig(spec backend.Spec) (*container.HostConfig, error) {
	resources, err := b.resources(spec)
	if err != nil {
		return nil, err
	}
	mounts, err := b.mounts(spec.Mounts)
	if err != nil {
		return nil, err
	}
	network := spec.Network
	if network == "" {
		network = b.config.Network
	}
	h := &container.HostConfig{
		NetworkMode: container.NetworkMode(network),
		// Runners live for one job: the engine must neither start one again nor
		// take away one whose end has not been reported.
		RestartPolicy:  container.RestartPolicy{Name: container.RestartPolicyDisabled},
		AutoRemove:     false,
		LogConfig:      container.LogConfig{Type: b.config.LogDriver, Config: maps.Clone(b.config.LogOptions)},
		Runtime:        spec.Runtime,
		ShmSize:        spec.ShmSize,
		Mounts:         mounts,
		Tmpfs:          maps.Clone(spec.Tmpfs),
		CapAdd:         slices.Clone(spec.CapAdd),
		CapDrop:        slices.Clone(spec.CapDrop),
		Privileged:     spec.Privileged,
		ReadonlyRootfs: spec.ReadOnly,
		ExtraHosts:     slices.Clone(b.config.ExtraHosts),
		Resources:      resources,
	}
	if !spec.AllowNewPrivileges {
		h.SecurityOpt = []string{"no-new-privileges"}
	}
	return h, nil
}

func (b *Backend) resources(spec backend.Spec) (container.Resources, error) {
	switch {
	case spec.CPU < 0 || math.IsNaN(spec.CPU) || spec.CPU > 1e6:
		return container.Resources{}, invalid("cpu %v: 0 to 1e6 are allowed", spec.CPU)
	case spec.Memory < 0:
		return container.Resources{}, invalid("memory %d is below 0", spec.Memory)
	case spec.ShmSize < 0:
		return container.Resources{}, invalid("shm size %d is below 0", spec.ShmSize)
	case spec.GPUs < -1:
		return container.Resources{}, invalid("gpus %d: -1 means all", spec.GPUs)
	case spec.PidsLimit < -1:
		return container.Resources{}, invalid("pids limit %d: -1 means no bound", spec.PidsLimit)
	}
	pids := spec.PidsLimit
	if pids == 0 {
		pids = b.config.PidsLimit
	}
	r := container.Resources{
		NanoCPUs: int64(math.Round(spec.CPU * 1e9)),
		Memory:   spec.Memory,
		// Memory and swap together: without it a runner has as much swap again.
		MemorySwap: spec.Memory,
		PidsLimit:  &pids,
	}
	switch {
	case len(spec.GPUIDs) > 0:
		if err := checkGPUs(spec.GPUIDs); err != nil {
			return r, err
		}
		r.DeviceRequests = []container.DeviceRequest{{DeviceIDs: slices.Clone(spec.GPUIDs), Capabilities: [][]string{{"gpu"}}}}
	case spec.GPUs != 0:
		r.DeviceRequests = []container.DeviceRequest{{Count: spec.GPUs, Capabilities: [][]string{{"gpu"}}}}
	}
	return r, nil
}

// gpuForm is what ids of GPUs are made of: GPU-<uuid>, MIG-<uuid>, an index, or
// an index of a part (0:1).
var gpuForm = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9:/._-]{0,127}$`)

// checkGPUs keeps ids to what names one device: the GPU tooling reads the list
// as one text, in which a comma parts and some words mean several devices.
func checkGPUs(ids []string) error {
	for i, id := range ids {
		switch strings.ToLower(id) {
		case "all", "none", "void":
			return invalid("gpu id %q names no device", id)
		}
		if !gpuForm.MatchString(id) {
			return invalid("gpu id %q: letters, digits and : / . _ - are allowed", id)
		}
		if slices.Contains(ids[:i], id) {
			return invalid("gpu id %q is there twice", id)
		}
	}
	return nil
}

// extraHosts adds the name by which a runner finds its host, once the engine's
// version is known. A network namespace that is another's has its own hosts.
func (b *Backend) extraHosts(h *container.HostConfig) {
	shared := h.NetworkMode.IsContainer() || h.NetworkMode.IsNone()
	if b.config.ExtraHosts != nil || shared || versions.LessThan(b.client.ClientVersion(), "1.41") {
		return
	}
	h.ExtraHosts = []string{"host.docker.internal:host-gateway"}
}

// environment is sorted, so that two launches of one spec are equal. Errors tell
// names at most: values are secret.
func environment(env map[string]string) ([]string, error) {
	out := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			return nil, fmt.Errorf("environment: %q is no name", name)
		}
		if strings.Contains(env[name], "\x00") {
			return nil, fmt.Errorf("environment: the value of %s has a NUL in it", name)
		}
		out = append(out, name+"="+env[name])
	}
	return out, nil
}
