package agent

import (
	"bufio"
	"cmp"
	"encoding/json"
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/slipway-ci/slipway/internal/wire"
)

// machineMemory is the machine's memory in bytes, as /proc/meminfo tells it
// (proc_meminfo(5)); 0 where there is none.
func machineMemory() int64 {
	file, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0
	}
	defer file.Close()
	for scan := bufio.NewScanner(file); scan.Scan(); {
		rest, ok := strings.CutPrefix(scan.Text(), "MemTotal:")
		if !ok {
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 10, 64)
		if err != nil {
			return 0
		}
		return kib << 10
	}
	return 0
}

// withDefaults fills in what this machine tells.
func (f Facts) withDefaults() Facts {
	return f.or(Facts{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.GOMAXPROCS(0), Memory: machineMemory()})
}

// or fills in what is not told.
func (f Facts) or(other Facts) Facts {
	f.OS = cmp.Or(f.OS, other.OS)
	f.Arch = cmp.Or(f.Arch, other.Arch)
	f.CPUs = cmp.Or(f.CPUs, other.CPUs)
	f.Memory = cmp.Or(f.Memory, other.Memory)
	return f
}

// wire is the facts as they are sent: within the protocol's bounds, beyond which
// the hub would end the session.
func (f Facts) wire() wire.HostFacts {
	sent := wire.HostFacts{
		OS: wire.Clip(f.OS), Arch: wire.Clip(f.Arch), CPUs: min(max(f.CPUs, 0), wire.MaxCPUs), Memory: max(f.Memory, 0), Disk: f.Disk.wire(),
		EngineVersion: wire.Clip(f.EngineVersion), MaxRunners: max(f.MaxRunners, 0), UpdateForbidden: f.UpdateForbidden, Hints: map[string]string{},
	}
	for _, name := range f.Runtimes {
		if len(sent.Runtimes) < wire.MaxRuntimes && wire.IsName(name) {
			sent.Runtimes = append(sent.Runtimes, name)
		}
	}
	seen := map[string]bool{}
	for _, g := range f.GPUs {
		if len(sent.GPUs) < wire.MaxGPUs && wire.IsName(g.ID) && !seen[g.ID] {
			sent.GPUs = append(sent.GPUs, wire.GPU{ID: g.ID, Name: wire.Clip(g.Name)})
			seen[g.ID] = true
		}
	}
	for _, k := range slices.Sorted(maps.Keys(f.Hints)) {
		if len(sent.Hints) < wire.MaxHints && len(k) <= wire.MaxID {
			sent.Hints[k] = wire.ClipText(f.Hints[k], wire.MaxHint)
		}
	}
	if text, err := json.Marshal(sent); err != nil || len(text) > wire.MaxHello-4096 {
		sent.Hints = nil // texts that quoting makes long
	}
	return sent
}

func (d Disk) wire() wire.Disk { return wire.Disk{Free: max(d.Free, 0), Total: max(d.Total, 0)} }

func (s Stats) wire() *wire.Usage {
	return &wire.Usage{CPUs: sane(s.CPUs), Memory: max(s.Memory, 0), Load: sane(s.Load), Disk: s.Disk.wire()}
}

// sane is a number that can be sent.
func sane(x float64) float64 {
	if !(x >= 0) || x > wire.MaxUsage {
		return 0
	}
	return x
}
