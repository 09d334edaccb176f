package sim

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/memory"
	"github.com/slipway-ci/slipway/provisioner"
)

// owner is whose runners the loop's are; there are others on the engine.
const owner = "owner-1"

// engine is the truth about what runs. Its methods need the world's lock.
type engine struct {
	w        *World
	hosts    []*host
	runners  map[string]*runner
	past     map[string]bool // ids that were here and are gone
	born     map[string]int  // runners by template
	watchers map[int]func()
	watches  int
	turn     int
	changes  int
	images   map[string]bool
	memory   *memory.Engine // if it is that, see memory.go
	order    sync.Mutex     // of what it is told
}

type host struct {
	name   string
	room   int
	online bool
}

func newEngine(w *World) *engine {
	e := &engine{
		w: w, runners: map[string]*runner{}, past: map[string]bool{}, born: map[string]int{},
		watchers: map[int]func(){}, images: map[string]bool{},
	}
	for i, room := range w.setup.Hosts {
		e.hosts = append(e.hosts, &host{name: "host-" + string(rune('a'+i)), room: room, online: true})
	}
	if len(e.hosts) == 0 {
		e.hosts = []*host{{room: 1 << 30, online: true}}
	}
	e.plantStrangers()
	if w.setup.Memory {
		e.memory = e.mirrored()
	}
	return e
}

// plantStrangers puts runners on the engine that look like ours and are not.
func (e *engine) plantStrangers() {
	for i, who := range []string{"owner-2", "owner-", "OWNER-1", "owner-1 ", "owner-11", ""} {
		id := "00dc6acf-ac00-7000-8000-00000000000" + string(rune('0'+i))
		labels := map[string]string{}
		if len(e.w.setup.Templates) > 0 {
			labels[provisioner.LabelTemplate] = e.w.setup.Templates[0].Key
		}
		e.runners[id] = &runner{
			w: e.w, id: id, owner: who, host: e.hosts[0], labels: labels,
			state: backend.Running, created: time.Now(), started: time.Now(), gone: make(chan struct{}),
		}
	}
}

// strangers counts the runners of other owners.
func (e *engine) strangers() int {
	n := 0
	for _, r := range e.runners {
		if r.owner != owner {
			n++
		}
	}
	return n
}

func (e *engine) fleet() bool { return e.hosts[0].name != "" }

func (e *engine) setOnline(h *host, online bool) {
	if h.online != online {
		e.w.trace.say("host %q online: %t", h.name, online)
		h.online = online
		e.changed()
		if e.memory != nil {
			time.AfterFunc(0, func() { e.mirrorOnline(h) })
		}
	}
}

// crash ends all processes of a host, as a power cut does.
func (e *engine) crash(h *host) {
	e.w.trace.say("host %q loses power", h.name)
	for _, r := range e.sorted() {
		if r.host == h && r.owner == owner && r.state.HoldsSlot() && !r.half {
			r.end(137)
		}
	}
}

func (e *engine) sorted() []*runner {
	return slices.SortedFunc(maps.Values(e.runners), func(a, b *runner) int { return cmp.Compare(a.id, b.id) })
}

// live counts what holds a slot on h.
func (e *engine) live(h *host) int {
	n := 0
	for _, r := range e.runners {
		if r.host == h && r.owner == owner && r.state.HoldsSlot() {
			n++
		}
	}
	return n
}

// place finds room, round robin.
func (e *engine) place() (*host, error) {
	online := false
	for i := range e.hosts {
		h := e.hosts[(e.turn+i)%len(e.hosts)]
		online = online || h.online
		if h.online && e.live(h) < h.room {
			e.turn += i + 1
			return h, nil
		}
	}
	if !online {
		return nil, backend.ErrUnavailable
	}
	return nil, backend.ErrExhausted
}

// launch is the effect of Launch.
func (e *engine) launch(spec backend.Spec, half bool) error {
	r := e.runners[spec.ID]
	if r == nil {
		h, err := e.place()
		if err != nil {
			return err
		}
		r = newRunner(e.w, spec, h)
		e.runners[spec.ID] = r
		e.w.trace.say("engine: %s of %s created on %q", short(r.id), r.template, h.name)
		if half {
			r.half = true
			e.changed()
			return nil
		}
	} else if !r.half {
		return backend.ErrExists
	} else if !r.host.online {
		return backend.ErrUnavailable
	}
	r.start(spec)
	return nil
}

// remove is the effect of Remove: it returns a channel that is closed when the
// runner is gone.
func (e *engine) remove(id string) (<-chan struct{}, error) {
	r := e.runners[id]
	switch {
	case r == nil || r.owner != owner:
		if !e.fleet() && !e.hosts[0].online {
			return nil, backend.ErrUnavailable
		}
		return closed, nil
	case !r.host.online:
		return nil, backend.ErrUnavailable
	}
	if r.half || r.state.Ended() {
		e.drop(r)
		return closed, nil
	}
	if r.state != backend.Stopping {
		r.state = backend.Stopping
		e.w.trace.say("engine: %s is stopping", short(id))
		e.changed()
		grace := e.w.dice.about("grace", r.template, r.n).between(0, 8*time.Second)
		e.w.after(grace, func() {
			r.end(143)
			e.drop(r)
		})
	}
	return r.gone, nil
}

var closed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

func (e *engine) drop(r *runner) {
	if e.runners[r.id] != r {
		return
	}
	e.w.trace.say("engine: %s is gone", short(r.id))
	delete(e.runners, r.id)
	e.past[r.id] = true
	close(r.gone)
	e.changed()
}

// list is the effect of List.
func (e *engine) list() ([]backend.Runner, error) {
	if !e.fleet() && !e.hosts[0].online {
		return nil, backend.ErrUnavailable
	}
	var all []backend.Runner
	for _, r := range e.sorted() {
		if r.owner == owner {
			all = append(all, r.seen())
		}
	}
	return all, nil
}

// room is the effect of Capacity.
func (e *engine) capacity() int {
	n := 0
	for _, h := range e.hosts {
		if h.online {
			n += max(0, h.room-e.live(h))
		}
	}
	return n
}

// changed wakes those who watch, mostly.
func (e *engine) changed() {
	e.changes++
	for id, wake := range e.watchers {
		t := e.w.dice.about("wake", e.changes, id)
		if e.w.calm || !t.chance(0.1) {
			time.AfterFunc(t.between(0, 50*time.Millisecond), wake)
		}
	}
}
