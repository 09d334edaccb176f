package agentd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/agent"
)

// sampleTime is how long the processors are watched for one answer.
const sampleTime = 500 * time.Millisecond

// stats tells how busy the machine is. In a container the figures of /proc are the
// host's all the same.
func (p *program) stats(ctx context.Context) (agent.Stats, error) {
	p.mu.Lock()
	facts := p.facts
	p.mu.Unlock()
	out := agent.Stats{Disk: p.engine.Disk(facts)}
	before, err := readTimes("/proc/stat")
	if errors.Is(err, fs.ErrNotExist) {
		return agent.Stats{}, fmt.Errorf("stats: %w", errors.ErrUnsupported)
	}
	if err != nil {
		return agent.Stats{}, fmt.Errorf("stats: %w", err)
	}
	timer := time.NewTimer(sampleTime)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return agent.Stats{}, fmt.Errorf("stats: %w", ctx.Err())
	}
	after, err := readTimes("/proc/stat")
	if err != nil {
		return agent.Stats{}, fmt.Errorf("stats: %w", err)
	}
	out.CPUs = after.busySince(before) * float64(max(facts.CPUs, runtime.NumCPU()))
	out.Memory, out.Load = memoryUsed("/proc/meminfo"), loadAverage("/proc/loadavg")
	return out, nil
}

// times are what all processors together have spent, in ticks: see proc_stat(5).
type times struct{ all, idle float64 }

// busySince is the part of the time since then that was not idle, from 0 to 1.
func (t times) busySince(before times) float64 {
	all := t.all - before.all
	if all <= 0 {
		return 0
	}
	return min(max(1-(t.idle-before.idle)/all, 0), 1)
}

func readTimes(path string) (times, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return times{}, err
	}
	line, _, _ := strings.Cut(string(data), "\n")
	fields := strings.Fields(line)
	// user nice system idle iowait irq softirq steal; guests are in user and nice.
	const idle, iowait, steal = 4, 5, 8
	if len(fields) <= steal || fields[0] != "cpu" {
		return times{}, fmt.Errorf("%s: not of its form", path)
	}
	var t times
	for i, field := range fields[1 : steal+1] {
		n, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return times{}, fmt.Errorf("%s: not of its form", path)
		}
		t.all += n
		if i+1 == idle || i+1 == iowait {
			t.idle += n
		}
	}
	return t, nil
}

// memoryUsed is what is not available to others, in bytes; 0 where that can't be
// told: see proc_meminfo(5).
func memoryUsed(path string) int64 {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	kib := map[string]int64{}
	for line := range strings.Lines(string(data)) {
		name, rest, _ := strings.Cut(line, ":")
		if fields := strings.Fields(rest); len(fields) > 0 {
			kib[name], _ = strconv.ParseInt(fields[0], 10, 64)
		}
	}
	return max(kib["MemTotal"]-kib["MemAvailable"], 0) << 10
}

// loadAverage is that of the last minute; 0 where there is none.
func loadAverage(path string) float64 {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(data), " ")
	average, _ := strconv.ParseFloat(first, 64)
	return average
}
