package placement

import (
	"fmt"
	"iter"
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
	// LastFailure is how such a launch failed there last, and FailedAt when; empty: none
	// has since one succeeded, what is asked for changed, or its agent came back. It is
	// told whether the host waits for it (Reason) or may try again.
	LastFailure string
	FailedAt    time.Time
	// RetryAt is when the host may be tried again that waits for what failed there, or was
	// out of room by its own word; zero: it does not wait, or for no time that is known.
	RetryAt time.Time
}

// Explain tells for each host whether it may get a runner of the template now. What a
// runner of it needs is known from the newest Ask; before that only its rule is looked
// at.
func (p *Placer) Explain(hosts iter.Seq[*Host], template string, now time.Time) (verdicts []Verdict) {
	a := p.ruled(Ask{Template: template})
	if known := p.asks[template]; known != nil {
		a = p.ruled(*known)
	}
	for h := range hosts {
		room, o := p.Judge(h, a, now)
		v := Verdict{Host: h.ID, Name: h.Name, Room: room, Reason: p.words(h, a, o)}
		if runtime, ok := p.Runtime(h, a); ok {
			v.Runtime = runtime
		}
		v.LastFailure, v.FailedAt = h.last(a, now)
		v.RetryAt = h.again(a, o, now)
		verdicts = append(verdicts, v)
	}
	return verdicts
}

// words puts an obstacle into words, with the numbers.
func (p *Placer) words(h *Host, a *Ask, o Obstacle) string {
	detail := ""
	switch t := &h.Load; o {
	case "":
		return ""
	case Blind:
		detail = h.Blind
	case Silent:
		detail = "a launch has not been answered for long"
	case Platform:
		detail = fmt.Sprintf("%s/%s, and %s is asked for", h.Facts.OS, h.Facts.Arch, strings.Trim(a.os+"/"+a.arch, "/"))
	case NoRuntime:
		asked := a.runtime
		if asked == "" {
			asked = "one of " + strings.Join(p.IsolatedRuntimes, ", ")
		}
		detail = fmt.Sprintf("it has %s, and %s is asked for", orNone(h.Facts.Runtimes), asked)
	case Full:
		detail = fmt.Sprintf("%d of %s", t.Held, Plural(h.Cap(), "runner"))
	case PerHostMax:
		detail = fmt.Sprintf("%d of %s", t.Templates[a.Template], Plural(a.rule.PerHostMax, "runner"))
	case NoCPU:
		detail = fmt.Sprintf("%s of %s are given away, and %s asked for", cpus(t.CPU), cpus(p.cpu(h)), cpus(a.cpu))
	case NoMemory:
		detail = fmt.Sprintf("%s of %s are given away, and %s asked for", mebibytes(t.Memory), mebibytes(p.memory(h)), mebibytes(a.memory))
	case NoGPU:
		detail = fmt.Sprintf("%d of %d are free, and %s asked for", len(h.FreeGPUs()), len(h.Facts.GPUs), gpus(a.gpus))
	case NoDisk:
		detail = fmt.Sprintf("%s are free, and the floor is %s", mebibytes(h.Facts.Disk.Free), mebibytes(a.rule.MinDiskFree))
		if h.Facts.Disk.Total == 0 {
			detail = "it tells nothing of its disk"
		}
	case BackingOff:
		detail = h.failures[a.key()].reason
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
	switch {
	case n < 0:
		return "all are"
	case n == 1:
		return "1 is"
	}
	return fmt.Sprintf("%d are", n)
}

// Plural is n of a noun.
func Plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
