package policy

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/go-units"

	"github.com/slipway-ci/slipway/docker"
)

// judgeLimits wants a limit wherever the policy has one: nothing asked for is no
// limit at all to the engine.
func (p *Policy) judgeLimits(r *docker.Request) *Refusal {
	h := r.Host
	var pids int64
	if h.PidsLimit != nil && *h.PidsLimit > 0 {
		pids = *h.PidsLimit
	}
	switch {
	case h.Memory < 0 || h.ShmSize < 0 || h.NanoCPUs < 0:
		return never("request", "a limit is below 0")
	case h.MemorySwap != h.Memory:
		return never("request", "swap of its own beside the memory")
	}
	for _, limit := range []struct {
		key         string
		asked, most int64
		text        func(int64) string
		perhaps     bool // nothing asked for is the engine's own small default
	}{
		{"max_cpu", h.NanoCPUs, nanos(p.rules.MaxCPU), func(n int64) string { return fmt.Sprint(float64(n) / 1e9) }, false},
		{"max_memory", h.Memory, p.rules.MaxMemory, size, false},
		{"max_shm", h.ShmSize, p.rules.MaxShm, size, true},
		{"max_pids", pids, p.rules.MaxPids, func(n int64) string { return fmt.Sprint(n) }, false},
	} {
		switch {
		case limit.most == 0, limit.asked == 0 && limit.perhaps:
		case limit.asked == 0:
			return unless(limit.key, "no "+limit.key, "the runner asks for no limit, and at most %s are allowed", limit.text(limit.most))
		case limit.asked > limit.most:
			return unless(limit.key, limit.key+": "+limit.text(limit.asked), "the runner asks for %s, and at most %s are allowed",
				limit.text(limit.asked), limit.text(limit.most))
		}
	}
	return nil
}

// nanos is virtual CPUs in the engine's unit.
func nanos(cpus float64) int64 { return int64(math.Round(cpus * 1e9)) }

// size is exact, so that it can be copied into the file.
func size(bytes int64) string {
	for _, unit := range []struct {
		bytes int64
		name  string
	}{{units.GiB, "GiB"}, {units.MiB, "MiB"}, {units.KiB, "KiB"}} {
		if bytes >= unit.bytes && bytes%unit.bytes == 0 {
			return strconv.FormatInt(bytes/unit.bytes, 10) + unit.name
		}
	}
	return strconv.FormatInt(bytes, 10)
}

var gpuForm = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9:/._-]{0,127}$`)

func checkGPU(id string) error {
	switch strings.ToLower(id) {
	case "all", "none", "void":
		return fmt.Errorf("%q is no device among others: write it alone, without a list", id)
	}
	if !gpuForm.MatchString(id) {
		return fmt.Errorf("%q is no id of a GPU", id)
	}
	return nil
}

// visibleDevices gives GPUs to a container whose runtime is NVIDIA's without any
// request for them.
const visibleDevices = "NVIDIA_VISIBLE_DEVICES"

func (p *Policy) judgeGPUs(r *docker.Request) *Refusal {
	for _, d := range r.Host.DeviceRequests {
		if len(d.Capabilities) != 1 || !slices.Equal(d.Capabilities[0], []string{"gpu"}) {
			return never("devices", "a device that is no GPU")
		}
		for _, id := range d.DeviceIDs {
			switch {
			case checkGPU(id) != nil:
				return never("gpus", "the device %s", short(id))
			case p.rules.GPUs != nil && !slices.Contains(p.rules.GPUs, id):
				return unless("gpus", fmt.Sprintf("gpus: [%q]", id), "the GPU %s is not allowed", short(id))
			}
		}
		if len(d.DeviceIDs) == 0 && p.rules.GPUs != nil {
			return unless("gpus", "gpus: all", "GPUs are asked for by number, and not all are allowed")
		}
	}
	if p.rules.GPUs == nil {
		return nil
	}
	for _, line := range r.Config.Env {
		name, value, _ := strings.Cut(line, "=")
		if name == visibleDevices && value != "" && value != "none" && value != "void" {
			return unless("gpus", "gpus: all", "the environment variable %s asks for GPUs", name)
		}
	}
	return nil
}
