package placement

import (
	"fmt"
	"strings"

	"github.com/slipway-ci/slipway/backend"
)

// Obstacle is a word for why a host gets no such runner now; empty: it may.
type Obstacle string

// The obstacles, in the order in which they are looked for and told.
const (
	NotTargeted Obstacle = "not targeted"
	Offline     Obstacle = "offline"
	NeedsUpdate Obstacle = "needs-update"
	NotReady    Obstacle = "not ready"
	Blind       Obstacle = "blind"
	Cordoned    Obstacle = "cordoned"
	Silent      Obstacle = "silent"
	Platform    Obstacle = "of another platform"
	NoRuntime   Obstacle = "without the runtime"
	Full        Obstacle = "full"
	PerHostMax  Obstacle = "at the scale set's cap"
	NoCPU       Obstacle = "short of CPU"
	NoMemory    Obstacle = "short of memory"
	NoGPU       Obstacle = "short of GPUs"
	NoDisk      Obstacle = "short of disk"
	Exhausted   Obstacle = "out of room by its own word"
	BackingOff  Obstacle = "backing off"
	Tried       Obstacle = "tried"
)

var obstacles = []Obstacle{
	NotTargeted, Offline, NeedsUpdate, NotReady, Blind, Cordoned, Silent, Platform, NoRuntime, Full, PerHostMax, NoCPU, NoMemory, NoGPU, NoDisk,
	Exhausted, BackingOff, Tried,
}

// ofTemplate says whether the obstacle lies in what was asked for, and not in how
// the host does.
func (o Obstacle) ofTemplate() bool { return o == NotTargeted || o == Platform || o == NoRuntime }

// OfRoom says whether it is over when other runners have ended.
func (o Obstacle) OfRoom() bool { return o == Full || o == PerHostMax || o == Exhausted }

// Obstacles counts hosts by what is with them.
type Obstacles map[Obstacle]int

// Err is that none of the hosts can take a runner: backend.ErrExhausted, with the
// counts in a fixed order.
func (c Obstacles) Err() error {
	var parts []string
	hosts := 0
	for _, o := range obstacles {
		if n := c[o]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, o))
			hosts += n
		}
	}
	counted := ""
	if len(parts) > 0 {
		counted = " (" + strings.Join(parts, ", ") + ")"
	}
	return fmt.Errorf("none of %s can take it%s: %w", Plural(hosts, "host"), counted, backend.ErrExhausted)
}
