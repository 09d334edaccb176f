// Package seen remembers when and how hosts were seen, so that a heartbeat costs no
// write: what lasts is written at once, if that was not so a moment ago, and the rest
// with that of all the others now and then. It also bounds the events of one host's
// sessions: an agent may come and go as often as it likes.
package seen

import (
	"encoding/json"
	"sync"
	"time"

	"github.com/slipway-ci/slipway/hub/fleet"
)

const (
	// factsSpacing is the least time between two writes of what one agent tells of
	// its host: it may tell other facts as often as it likes.
	factsSpacing = 10 * time.Second
	// MostTold is how many events of its sessions one host gets between two Takes.
	MostTold = 10
)

// Sighting is what an agent told. Zero fields were not told.
type Sighting struct {
	// Agent and Engine are their ids.
	Agent, Engine string
	// Version of the agent.
	Version string
	// Facts of the host.
	Facts *fleet.Facts
}

// Book is what is known in memory. Its methods may be called from many goroutines.
type Book struct {
	mu    sync.Mutex
	hosts map[string]*entry
}

type entry struct {
	at      time.Time // the last sign of life
	stale   bool      // at is not written yet
	known   Sighting  // as it is written, of Facts what lasts; nil Facts: not known
	wrote   time.Time // when it was last written at once
	version string    // as it was told last,
	facts   fleet.Facts
	newest  bool // which is newer than what is written

	told, untold int // sessions since the last Take
}

// New makes a book that knows nothing.
func New() *Book { return &Book{hosts: map[string]*entry{}} }

// Written notes what is written of a host, and that it was seen then.
func (b *Book) Written(id string, s Sighting, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	facts := *s.Facts
	steady := lasting(facts)
	e := b.hosts[id]
	if e == nil {
		e = &entry{at: at}
		b.hosts[id] = e
	}
	e.version, e.facts, e.newest = s.Version, facts, false
	s.Facts = &steady
	e.known = s
}

// WrittenNow notes that what a host told was written just now.
func (b *Book) WrittenNow(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.hosts[id]; e != nil {
		e.at, e.wrote, e.stale = time.Now(), time.Now(), false
	}
}

// Note takes in a sighting; false: there is something new to write, or nothing is
// known of what is written.
func (b *Book) Note(id string, s Sighting) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.hosts[id]
	if e == nil || e.known.Facts == nil {
		return false
	}
	told := func(value, known string) bool { return value == "" || value == known }
	if !told(s.Agent, e.known.Agent) || !told(s.Engine, e.known.Engine) {
		return false
	}
	news := !told(s.Version, e.known.Version) || s.Facts != nil && !same(lasting(*s.Facts), *e.known.Facts)
	if news && time.Since(e.wrote) >= factsSpacing {
		return false
	}
	if !told(s.Version, e.version) {
		e.version, e.newest = s.Version, true
	}
	if s.Facts != nil && !same(*s.Facts, e.facts) {
		e.facts, e.newest = *s.Facts, true
	}
	e.at, e.stale = time.Now(), true
	return true
}

// Alive notes a sign of life.
func (b *Book) Alive(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.hosts[id]
	if e == nil {
		e = &entry{}
		b.hosts[id] = e
	}
	e.at, e.stale = time.Now(), true
}

// Disk takes over how full a host's disk is.
func (b *Book) Disk(id string, disk fleet.Disk) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.hosts[id]; e != nil && disk != (fleet.Disk{}) && e.known.Facts != nil && e.facts.Disk != disk {
		e.facts.Disk, e.newest = disk, true
	}
}

// Tell says whether one more event of a host's sessions is to be told.
func (b *Book) Tell(id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.hosts[id]
	if e == nil {
		return true
	}
	if e.told >= MostTold {
		e.untold++
		return false
	}
	e.told++
	return true
}

// Forget drops what is known of a host.
func (b *Book) Forget(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.hosts, id)
}

// Last is when a host was last seen, zero where that is not known, and what it told;
// nil Facts: nothing that is newer than what is written.
func (b *Book) Last(id string) (at time.Time, s Sighting) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.hosts[id]
	if e == nil {
		return time.Time{}, Sighting{}
	}
	if e.newest {
		facts := e.facts
		s = Sighting{Version: e.version, Facts: &facts}
	}
	return e.at, s
}

// News is what is to be written, and told, by the hosts' ids.
type News struct {
	// Seen is when hosts were seen, Told what they told.
	Seen map[string]time.Time
	Told map[string]Sighting
	// Untold is how many events of their sessions were passed over.
	Untold map[string]int
}

// Take gives what is to be written; from then on it counts as written.
func (b *Book) Take() News {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := News{Seen: map[string]time.Time{}, Told: map[string]Sighting{}, Untold: map[string]int{}}
	for id, e := range b.hosts {
		if e.stale {
			n.Seen[id] = e.at
		}
		if e.newest {
			facts := e.facts
			n.Told[id] = Sighting{Version: e.version, Facts: &facts}
		}
		if e.untold > 0 {
			n.Untold[id] = e.untold
		}
		e.stale, e.newest, e.told, e.untold = false, false, 0, 0
	}
	return n
}

// Return has what could not be written taken again.
func (b *Book) Return(n News) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, e := range b.hosts {
		_, wasSeen := n.Seen[id]
		_, wasTold := n.Told[id]
		e.stale, e.newest = e.stale || wasSeen, e.newest || wasTold
	}
}

// lasting is what facts tell that does not change all the time.
func lasting(f fleet.Facts) fleet.Facts {
	f.Disk = fleet.Disk{}
	return f
}

// same compares what is sent, so that a field that facts gain counts.
func same(a, b fleet.Facts) bool {
	one, err := json.Marshal(a)
	other, err2 := json.Marshal(b)
	return err == nil && err2 == nil && string(one) == string(other)
}
