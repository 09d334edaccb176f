package agent

import (
	"bufio"
	"os"
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

func (c Config) greeting() wire.Frame {
	return wire.Frame{Type: wire.Hello, Hello: &wire.Greeting{
		Protocol: wire.Protocol, Agent: c.ID, Engine: c.Engine, Version: c.Version,
		Facts: wire.Facts{OS: c.Facts.OS, Arch: c.Facts.Arch, CPUs: c.Facts.CPUs, Memory: c.Facts.Memory, Hints: c.Facts.Hints},
	}}
}
