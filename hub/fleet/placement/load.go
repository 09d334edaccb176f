package placement

import (
	"math"
	"slices"
	"time"

	"github.com/slipway-ci/slipway/internal/wire"
)

// Share is what of a host is one runner's. It is stored: add fields at the end only.
type Share struct {
	CPU    float64  `json:"cpu,omitempty"`
	Memory int64    `json:"memory,omitempty"`
	GPUs   []string `json:"gpus,omitempty"`
}

// Zero says that it is nothing, or that nobody knows.
func (s Share) Zero() bool { return s.CPU == 0 && s.Memory == 0 && len(s.GPUs) == 0 }

// Share is what a runner of the spec will take up on the host, which has the room.
func (h *Host) Share(spec *wire.Spec) Share {
	s := Share{CPU: max(spec.CPU, 0), Memory: max(spec.Memory, 0)}
	switch {
	case spec.GPUs > 0:
		s.GPUs = slices.Clone(h.FreeGPUs()[:spec.GPUs])
	case spec.GPUs < 0:
		s.GPUs = h.FreeGPUs()
	}
	return s
}

// Load is what the runners of a host take up, all together.
type Load struct {
	// Held is how many take up room; Templates counts them by theirs.
	Held      int
	Templates map[string]int
	// CPU is in thousandths, Memory in bytes.
	CPU, Memory int64
	// GPUs are the devices that a runner has.
	GPUs map[string]bool
	// Unanswered is how many launches have no answer yet, and Waiting since when the
	// oldest of them has none; zero: all have.
	Unanswered int
	Waiting    time.Time
}

// Reset makes it that of no runner.
func (l *Load) Reset() {
	clear(l.Templates)
	*l = Load{Templates: l.Templates}
	if l.Templates == nil {
		l.Templates = map[string]int{}
	}
}

// Add counts a runner that takes up room.
func (l *Load) Add(template string, s Share) {
	l.Held++
	l.Templates[template]++
	l.CPU = plus(l.CPU, milli(s.CPU))
	l.Memory = plus(l.Memory, s.Memory)
	for _, id := range s.GPUs {
		if l.GPUs == nil {
			l.GPUs = map[string]bool{}
		}
		l.GPUs[id] = true
	}
}

// Wait counts a launch that has had no answer since then.
func (l *Load) Wait(since time.Time) {
	l.Unanswered++
	if l.Waiting.IsZero() || since.Before(l.Waiting) {
		l.Waiting = since
	}
}

// plus adds what is not negative, and does not overflow.
func plus(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}
