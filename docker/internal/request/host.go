package request

import (
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/container"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/docker/internal/fault"
)

func (s Settings) host(spec backend.Spec) (*container.HostConfig, error) {
	resources, err := s.resources(spec)
	if err != nil {
		return nil, err
	}
	mounts, err := s.mounts(spec.Mounts)
	if err != nil {
		return nil, err
	}
	network := spec.Network
	if network == "" {
		network = s.Network
	}
	h := &container.HostConfig{
		NetworkMode: container.NetworkMode(network),
		// Runners live for one job: the engine must neither start one again nor
		// take away one whose end has not been reported.
		RestartPolicy:  container.RestartPolicy{Name: container.RestartPolicyDisabled},
		AutoRemove:     false,
		LogConfig:      container.LogConfig{Type: s.LogDriver, Config: maps.Clone(s.LogOptions)},
		Runtime:        spec.Runtime,
		ShmSize:        spec.ShmSize,
		Mounts:         mounts,
		Tmpfs:          maps.Clone(spec.Tmpfs),
		CapAdd:         slices.Clone(spec.CapAdd),
		CapDrop:        slices.Clone(spec.CapDrop),
		Privileged:     spec.Privileged,
		ReadonlyRootfs: spec.ReadOnly,
		ExtraHosts:     slices.Clone(s.ExtraHosts),
		Resources:      resources,
	}
	if !spec.AllowNewPrivileges {
		h.SecurityOpt = []string{"no-new-privileges"}
	}
	return h, nil
}

func (s Settings) resources(spec backend.Spec) (container.Resources, error) {
	switch {
	case spec.CPU < 0 || math.IsNaN(spec.CPU) || spec.CPU > 1e6:
		return container.Resources{}, fault.Invalid("cpu %v: 0 to 1e6 are allowed", spec.CPU)
	case spec.Memory < 0:
		return container.Resources{}, fault.Invalid("memory %d is below 0", spec.Memory)
	case spec.ShmSize < 0:
		return container.Resources{}, fault.Invalid("shm size %d is below 0", spec.ShmSize)
	case spec.GPUs < -1:
		return container.Resources{}, fault.Invalid("gpus %d: -1 means all", spec.GPUs)
	case spec.PidsLimit < -1:
		return container.Resources{}, fault.Invalid("pids limit %d: -1 means no bound", spec.PidsLimit)
	}
	pids := spec.PidsLimit
	if pids == 0 {
		pids = s.PidsLimit
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
			return fault.Invalid("gpu id %q names no device", id)
		}
		if !gpuForm.MatchString(id) {
			return fault.Invalid("gpu id %q: letters, digits and : / . _ - are allowed", id)
		}
		if slices.Contains(ids[:i], id) {
			return fault.Invalid("gpu id %q is there twice", id)
		}
	}
	return nil
}
