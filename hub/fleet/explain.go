package fleet

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Verdict is why a host may get a runner of a template now, or may not.
type Verdict struct {
	// Host is its id, Name its name.
	Host, Name string
	// Room is how many such runners it may take; 0: none, for Reason.
	Room int
	// Reason is in words, the first of them fixed; empty: it may take one.
	Reason string
	// Runtime is what a runner would be launched with; empty: the engine's own.
	Runtime string
}

// Explain tells for each host, in the order of their ids, whether it may get a
// runner of the template now, by the rules that a launch goes by. What a runner of
// it needs is known from when Capacity, Prepare or Launch was last asked for one;
// before that only its placement is looked at.
func (f *Fleet) Explain(template string) []Verdict {
	f.mu.Lock()
	defer f.unlock()
	a := &ask{template: template}
	if known := f.asks[template]; known != nil {
		a = new(*known)
	}
	a.placed, a.place = f.placements != nil, f.placements[template]
	now, verdicts := time.Now(), make([]Verdict, 0, len(f.order))
	for _, h := range f.order {
		v := f.rules.judge(h, a, now)
		verdicts = append(verdicts, Verdict{Host: h.ID, Name: h.name(), Room: v.room, Runtime: v.runtime, Reason: f.rules.words(h, a, v.obstacle)})
	}
	return verdicts
}

// words puts an obstacle into words, with the numbers.
func (r *rules) words(h *host, a *ask, o obstacle) string {
	detail := ""
	switch t := h.count(); o {
	case "":
		return ""
	case blind:
		detail = h.blind
	case silent:
		detail = "a launch has not been answered for long"
	case platform:
		detail = fmt.Sprintf("%s/%s, and %s is asked for", h.facts.OS, h.facts.Arch, strings.Trim(a.os+"/"+a.arch, "/"))
	case noRuntime:
		asked := a.runtime
		if asked == "" {
			asked = "one of " + strings.Join(r.isolated, ", ")
		}
		detail = fmt.Sprintf("it has %s, and %s is asked for", orNone(h.facts.Runtimes), asked)
	case full:
		detail = fmt.Sprintf("%d of %d runners", t.held, h.cap())
	case perHostMax:
		detail = fmt.Sprintf("%d of %d runners", t.templates[a.template], a.place.PerHostMax)
	case noCPU:
		detail = fmt.Sprintf("%s of %s are given away, and %s asked for", cpus(t.cpu), cpus(r.cpu(h)), cpus(a.cpu))
	case noMemory:
		detail = fmt.Sprintf("%s of %s are given away, and %s asked for", mebibytes(t.memory), mebibytes(r.memory(h)), mebibytes(a.memory))
	case noGPU:
		detail = fmt.Sprintf("%d of %d are free, and %s asked for", len(h.freeGPUs()), len(h.facts.GPUs), gpus(a.gpus))
	case noDisk:
		detail = fmt.Sprintf("%s are free, and the floor is %s", mebibytes(h.facts.Disk.Free), mebibytes(a.place.MinDiskFree))
		if h.facts.Disk.Total == 0 {
			detail = "it tells nothing of its disk"
		}
	case backingOff:
		detail = h.failures[failureKey(a)].reason
	}
	if detail == "" {
		return string(o)
	}
	return string(o) + ": " + detail
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(slices.Sorted(slices.Values(names)), ", ")
}

func cpus(milli int64) string { return fmt.Sprintf("%g CPUs", float64(milli)/1000) }

func mebibytes(n int64) string { return fmt.Sprintf("%d MiB", n>>20) }

func gpus(n int) string {
	if n < 0 {
		return "all are"
	}
	return fmt.Sprintf("%d are", n)
}
