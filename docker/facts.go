package docker

import (
	"context"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/docker/internal/fault"
)

// Facts are what an engine tells of itself and of its machine.
type Facts struct {
	// EngineID is the same for as long as the engine's data folder lives.
	EngineID string
	// Version is the engine's own.
	Version string
	// OS and Arch are in Go's words (linux, amd64).
	OS, Arch string
	// CPUs is how many the machine has.
	CPUs int
	// Memory is the machine's, in bytes.
	Memory int64
	// Runtimes are the names of the OCI runtimes that it knows, in order.
	Runtimes []string
	// DefaultRuntime is the one that it takes where none is named.
	DefaultRuntime string
	// DataRoot is the engine's data folder, on its machine.
	DataRoot string
	// GPUs are those that the machine's tooling tells, where the engine is on this
	// machine; else none.
	GPUs []GPU
}

// GPU is one device that Spec.GPUIDs may name.
type GPU struct {
	// ID is what the tooling knows it by: its UUID, or its index where there is none.
	ID string
	// Name is its model; empty where that is not known.
	Name string
}

// Facts asks the engine about itself.
func (b *Backend) Facts(ctx context.Context) (Facts, error) {
	if err := b.ready(ctx); err != nil {
		return Facts{}, fmt.Errorf("facts: %w", err)
	}
	info, err := b.client.Info(ctx)
	if err != nil {
		return Facts{}, fmt.Errorf("facts: %w", fault.Of(ctx, err))
	}
	version, err := b.client.ServerVersion(ctx)
	if err != nil {
		return Facts{}, fmt.Errorf("facts: %w", fault.Of(ctx, err))
	}
	f := Facts{
		EngineID: info.ID, Version: info.ServerVersion, OS: version.Os, Arch: version.Arch,
		CPUs: info.NCPU, Memory: info.MemTotal,
		Runtimes: slices.Sorted(maps.Keys(info.Runtimes)), DefaultRuntime: info.DefaultRuntime, DataRoot: info.DockerRootDir,
	}
	if b.address.local() {
		f.GPUs = b.gpus(ctx)
	}
	return f, nil
}

// gpuTool lists the GPUs of a machine with NVIDIA's driver; the devices of each
// are deviceGlob.
const (
	gpuTool    = "nvidia-smi"
	deviceGlob = "/dev/nvidia[0-9]*"
	gpuTimeout = 20 * time.Second // a driver that wakes up takes its time
)

// gpus tells what there is. Without the tool, or where it fails, the devices
// themselves say how many there are, and their indices stand for them.
func (b *Backend) gpus(ctx context.Context) []GPU {
	if tool, err := exec.LookPath(gpuTool); err == nil {
		ctx, cancel := context.WithTimeout(ctx, gpuTimeout)
		defer cancel()
		cmd := exec.CommandContext(ctx, tool, "-L")
		cmd.WaitDelay = time.Second
		out, err := cmd.Output()
		if err == nil {
			return parseGPUs(string(out))
		}
		b.log.Warn("the list of GPUs could not be read", "tool", tool, "err", err)
	}
	return devices(deviceGlob)
}

func devices(glob string) []GPU {
	files, _ := filepath.Glob(glob) // the pattern is fixed and sound
	var out []GPU
	for _, file := range files {
		index := strings.TrimPrefix(filepath.Base(file), "nvidia")
		if strings.Trim(index, "0123456789") == "" {
			out = append(out, GPU{ID: index})
		}
	}
	return out
}

// A line is a device, and indented below it are the parts that it is divided
// into. Source: docs.nvidia.com/datacenter/tesla/mig-user-guide.
var (
	gpuLine = regexp.MustCompile(`^GPU \d+: (.*) \(UUID: (GPU-[^)\s]+)\)\s*$`)
	migLine = regexp.MustCompile(`^\s+(MIG .*?)\s+Device\s+\d+: \(UUID: (MIG-[^)\s]+)\)\s*$`)
)

// parseGPUs reads the tool's list. A device that is divided is told by its parts.
func parseGPUs(text string) []GPU {
	var out []GPU
	whole, model := false, "" // the last entry is a whole device, of this model
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if m := gpuLine.FindStringSubmatch(line); m != nil {
			out, whole, model = append(out, GPU{ID: m[2], Name: m[1]}), true, m[1]
			continue
		}
		m := migLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		if whole {
			out, whole = out[:len(out)-1], false
		}
		out = append(out, GPU{ID: m[2], Name: model + " " + m[1]})
	}
	return out
}
