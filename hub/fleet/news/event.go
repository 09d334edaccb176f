// Package news keeps what became of the sessions of hosts until somebody is told, who
// may be slow.
package news

import (
	"time"

	"github.com/slipway-ci/slipway/internal/wire"
)

// Kind says what an Event tells.
type Kind string

// The kinds.
const (
	// Connected: an agent said hello, and was let in.
	Connected Kind = "connected"
	// Disconnected: the host's session has ended, and no newer one has taken over.
	Disconnected Kind = "disconnected"
	// FactsTold: the agent told other facts.
	FactsTold Kind = "facts"
	// StatsTold: the agent told how busy the host is.
	StatsTold Kind = "stats"
	// BackedOff: a launch of a template failed there, or what it needs, such as its
	// image, and others wait for it; of failures in a row it is told of the first.
	BackedOff Kind = "backed-off"
	// Duplicated: an agent was turned away since another one lives under the host's
	// identity; of such in a row it is told of the first.
	Duplicated Kind = "duplicated"
)

// Event is something that became of a host's session. Which fields are set
// besides the first four depends on Kind.
type Event struct {
	Kind Kind
	// Host is the host's id, Epoch the number of its connection.
	Host  string
	Epoch uint64
	// At is when it happened, by this machine's clock.
	At time.Time
	// Agent, Engine and Version are the agent's ids and build; Engine is empty
	// where it has none, or can't see it. Connected.
	Agent, Engine, Version string
	// NeedsUpdate: the agent's version is too far from ours. Connected.
	NeedsUpdate bool
	// Facts: connected, facts. Usage: stats.
	Facts wire.HostFacts
	Usage wire.Usage
	// Reason is why the session ended, the launch failed, or the agent was turned away.
	// Disconnected, backed off, duplicated.
	Reason string
	// Template is that of the launch; empty: it has none. Backed off.
	Template string
}
