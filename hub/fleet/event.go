package fleet

import (
	"github.com/slipway-ci/slipway/hub/fleet/news"
	"github.com/slipway-ci/slipway/internal/wire"
)

// Facts are what a host's agent tells of it.
type Facts = wire.HostFacts

// Usage is how busy a host is.
type Usage = wire.Usage

// GPU is one device of a host.
type GPU = wire.GPU

// Disk is how full a disk is.
type Disk = wire.Disk

// SessionEvent is something that became of a host's session, SessionKind what.
type (
	SessionEvent = news.Event
	SessionKind  = news.Kind
)

// The kinds, as package news has them.
const (
	Connected    = news.Connected
	Disconnected = news.Disconnected
	FactsTold    = news.FactsTold
	StatsTold    = news.StatsTold
	BackedOff    = news.BackedOff
	Duplicated   = news.Duplicated
)
