package fleet

import (
	"slices"
	"time"

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

// SessionKind says what a SessionEvent tells.
type SessionKind string

// The kinds.
const (
	// Connected: an agent said hello, and was let in.
	Connected SessionKind = "connected"
	// Disconnected: the host's session has ended, and no newer one has taken over.
	Disconnected SessionKind = "disconnected"
	// FactsTold: the agent told other facts.
	FactsTold SessionKind = "facts"
	// StatsTold: the agent told how busy the host is.
	StatsTold SessionKind = "stats"
	// BackedOff: a launch of a template failed there, or what it needs, such as its
	// image, and others wait for it; of failures in a row it is told of the first.
	BackedOff SessionKind = "backed-off"
)

// SessionEvent is something that became of a host's session. Which fields are set
// besides the first four depends on Kind.
type SessionEvent struct {
	Kind SessionKind
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
	Facts Facts
	Usage Usage
	// Reason is why the session ended, or the launch failed. Disconnected, backed off.
	Reason string
	// Template is that of the launch; empty: it has none. Backed off.
	Template string
}

// mostEvents is how many events may wait for a slow Config.Sessions.
const mostEvents = 4096

// events wait for Config.Sessions. The fleet's lock guards the queue.
type events struct {
	queue []SessionEvent
	wake  chan struct{} // of one
	end   chan struct{} // closed when there will be no more
}

func newEvents() events {
	return events{wake: make(chan struct{}, 1), end: make(chan struct{})}
}

// emit has Config.Sessions told. The lock is held.
func (f *Fleet) emit(e SessionEvent) {
	if f.config.Sessions == nil {
		return
	}
	e.At = time.Now()
	q := &f.events
	if e.Kind == StatsTold || e.Kind == FactsTold {
		same := func(old SessionEvent) bool { return old.Kind == e.Kind && old.Host == e.Host && old.Epoch == e.Epoch }
		q.queue = slices.DeleteFunc(q.queue, same)
	}
	if len(q.queue) >= mostEvents {
		q.queue = slices.Delete(q.queue, 0, 1)
	}
	q.queue = append(q.queue, e)
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// tellSessions tells the events, until there are no more.
func (f *Fleet) tellSessions() {
	for {
		last := false
		select {
		case <-f.events.wake:
		case <-f.events.end:
			last = true
		}
		f.mu.Lock()
		queue := f.events.queue
		f.events.queue = nil
		f.unlock()
		for _, e := range queue {
			f.config.Sessions(e)
		}
		if last {
			return
		}
	}
}
