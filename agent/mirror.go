package agent

import (
	"errors"
	"maps"
	"reflect"
	"sync"
	"time"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/internal/wire"
)

// mirror is what the agent knows of its runners, and what of it the hub was
// told. It outlives sessions.
//
// A look takes time, and launches and removals end meanwhile. So every deed and
// every look gets a tick of a counter: what a look that began earlier shows of a
// runner is not believed where a deed on that runner ended since. Frames are
// queued under the lock, so that the hub reads them in the order of what they tell.
type mirror struct {
	mu    sync.Mutex
	clock uint64

	launching map[string]int       // launches under way, by runner
	launched  map[string]uint64    // when a launch last ended
	removed   map[string]uint64    // when a removal last succeeded
	first     map[string]time.Time // when the runner was first seen
	seen      map[string]wire.Runner

	session   *session               // nil while cut off
	since     time.Time              // since when there has been none
	primed    bool                   // the session has the full list
	blind     bool                   // the session was told that nothing can be seen
	told      map[string]wire.Runner // what the session knows
	undecided map[string]bool        // what it was told may still come
	host      wire.HostFacts         // what it was told of the host
}

func newMirror() *mirror {
	return &mirror{
		launching: map[string]int{}, launched: map[string]uint64{}, removed: map[string]uint64{},
		first: map[string]time.Time{}, seen: map[string]wire.Runner{}, since: time.Now(),
		told: map[string]wire.Runner{}, undecided: map[string]bool{},
	}
}

// attach makes s the session that is told things, and that was told that of the
// host. The next look primes it.
func (m *mirror) attach(s *session, host wire.HostFacts) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.session, m.primed, m.blind, m.host = s, false, false, host
	m.told, m.undecided = map[string]wire.Runner{}, map[string]bool{}
}

// tellHost tells what is different about the host. That a disk fills up is told
// with the stats.
func (m *mirror) tellHost(now wire.HostFacts) {
	m.mu.Lock()
	defer m.mu.Unlock()
	told := now
	told.Disk = m.host.Disk
	if m.session == nil || reflect.DeepEqual(told, m.host) {
		return
	}
	m.host = now
	m.session.send(wire.Frame{Type: wire.Facts, Facts: &now})
}

func (m *mirror) detach(s *session) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.session == s {
		m.session, m.since = nil, time.Now()
	}
}

// launchBegins is called by the session's reader before it reads on: once the
// session is over, no launch of it begins any more.
func (m *mirror) launchBegins(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.launching[id]++
}

// launchEnded answers the launch. Where the session that asked is gone, the next
// look tells its successor.
func (m *mirror) launchEnded(s *session, request uint64, id string, err error, unseen bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.launching[id]--; m.launching[id] == 0 {
		delete(m.launching, id)
	}
	m.clock++
	m.launched[id] = m.clock
	if err != nil && !errors.Is(err, backend.ErrExists) && !backend.IsDefinite(err) {
		m.undecided[id] = true // the next look decides
	}
	if unseen { // the engine is not well: say all anew when it is
		m.primed = false
	}
	s.send(wire.Frame{Type: wire.Answer, ID: request, Error: wire.FromError(err)})
}

// removeEnded notes that the runner is gone, and answers if somebody asked.
func (m *mirror) removeEnded(s *session, request uint64, id string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		m.clock++
		m.removed[id] = m.clock
		delete(m.told, id)
		delete(m.seen, id)
		delete(m.first, id)
	}
	if s != nil {
		s.send(wire.Frame{Type: wire.Answer, ID: request, Error: wire.FromError(err)})
	}
}

// relist makes the next look tell everything.
func (m *mirror) relist() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.primed = false
}

// lookBegins returns the tick of a look.
func (m *mirror) lookBegins() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clock++
	return m.clock
}

// looked takes in what a look that began at start saw, and tells the session.
func (m *mirror) looked(start uint64, listing backend.Listing, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		if m.session != nil && !m.blind {
			m.blind, m.primed = true, false
			m.session.send(wire.Frame{Type: wire.Blind, Error: wire.FromError(err)})
		}
		return
	}
	now := make(map[string]wire.Runner, len(listing.Runners))
	for _, r := range listing.Runners {
		if m.removed[r.ID] < start {
			now[r.ID] = wire.FromRunner(r)
		}
	}
	m.remember(now)
	if m.session != nil {
		if m.primed {
			m.tellChanges(now, start)
		} else {
			m.tellAll(now, start)
		}
	}
	old := func(_ string, tick uint64) bool { return tick < start }
	maps.DeleteFunc(m.launched, old)
	maps.DeleteFunc(m.removed, old)
}

func (m *mirror) remember(now map[string]wire.Runner) {
	m.seen = now
	maps.DeleteFunc(m.first, func(id string, _ time.Time) bool { _, ok := now[id]; return !ok })
	for id := range now {
		if m.first[id].IsZero() {
			m.first[id] = time.Now()
		}
	}
}

// open says whether a launch of the runner may still show, as far as a look
// that began at start can tell.
func (m *mirror) open(id string, start uint64) bool {
	return m.launching[id] > 0 || m.launched[id] > start
}

func (m *mirror) tellAll(now map[string]wire.Runner, start uint64) {
	m.undecided = map[string]bool{}
	for _, ids := range []map[string]bool{keys(m.launching), keys(m.launched)} {
		for id := range ids {
			if _, there := now[id]; !there && m.open(id, start) {
				m.undecided[id] = true
			}
		}
	}
	m.primed, m.blind = true, false
	for _, part := range listParts(now, m.undecided) {
		m.session.send(wire.Frame{Type: wire.Runners, List: &part})
	}
	m.told = maps.Clone(now)
}

func (m *mirror) tellChanges(now map[string]wire.Runner, start uint64) {
	changed := map[string]wire.Runner{}
	var gone []string
	for id, r := range now {
		if before, ok := m.told[id]; !ok || !reflect.DeepEqual(before, r) {
			changed[id] = r
			m.told[id] = r
		}
		delete(m.undecided, id)
	}
	for id := range m.told {
		if _, there := now[id]; !there && !m.open(id, start) {
			gone = append(gone, id)
			delete(m.told, id)
		}
	}
	for id := range m.undecided {
		if !m.open(id, start) {
			gone = append(gone, id)
			delete(m.undecided, id)
		}
	}
	for _, part := range changeParts(changed, gone) {
		m.session.send(wire.Frame{Type: wire.Changes, Changes: &part})
	}
}

func keys[V any](m map[string]V) map[string]bool {
	out := make(map[string]bool, len(m))
	for k := range m {
		out[k] = true
	}
	return out
}

// overdue are the runners that are past their maximum lifetime, while there has
// been no hub for at least cutOff. A runner's age runs from its first sight.
func (m *mirror) overdue(now time.Time, cutOff time.Duration) (ids []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.session != nil || now.Sub(m.since) < cutOff {
		return nil
	}
	for id, r := range m.seen {
		lifetime, err := time.ParseDuration(r.Labels[wire.LabelMaxLifetime])
		if err == nil && lifetime > 0 && r.State.HoldsSlot() && now.Sub(m.first[id]) >= lifetime {
			ids = append(ids, id)
		}
	}
	return ids
}

// launchDropped takes back launchBegins of a launch that was refused at once.
func (m *mirror) launchDropped(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.launching[id]--; m.launching[id] == 0 {
		delete(m.launching, id)
	}
}
