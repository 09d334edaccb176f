package fleet

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/internal/wire"
)

var (
	_ backend.Backend = (*Fleet)(nil)
	_ backend.Blamer  = (*Fleet)(nil)
)

// Fleet is the hosts of a hub. Make it with New; it serves while Run runs.
type Fleet struct {
	config  Config
	log     hclog.Logger
	running atomic.Bool
	tasks   sync.WaitGroup // sessions, and what goes on when its caller has left
	poked   chan struct{}  // there is something to save; of one
	opened  chan struct{}  // closed when the records are loaded

	mu         sync.Mutex // never held across anything that waits
	open       bool       // the records are loaded, and Run has not ended
	hosts      map[string]*host
	order      []*host // the same, by id
	runners    map[string]*record
	all        []*record             // the same, and dropped ones
	sorted     bool                  // all is in the order of the ids
	dropped    int                   // how many in all are
	placements map[string]*placement // by template; nil: anything anywhere
	asks       map[string]*ask       // by template, the newest
	rules      rules
	level      uint64        // the most turns that a host has had, see choose
	turns      uint64        // how often one was
	scratch    []*host       // fit's
	usual      time.Duration // that a launch takes until it is answered; 0: not known
	changed    chan struct{} // closed and made anew at every change
	unsaved    *batch
	notes      []note // for the log, once the lock is given back
	events     events
	talk       map[string]*talk // by host

	greeting map[*websocket.Conn]string // connections without their hello, and whose
	waiting  map[string]int             // how many of them are the host's
}

// New makes a fleet. Until Run has loaded the records it knows nothing.
func New(config Config) (*Fleet, error) {
	config = config.withDefaults()
	if err := config.validate(); err != nil {
		return nil, err
	}
	f := &Fleet{
		config: config, log: config.Logger, poked: make(chan struct{}, 1), opened: make(chan struct{}),
		hosts: map[string]*host{}, runners: map[string]*record{}, sorted: true, asks: map[string]*ask{}, changed: make(chan struct{}), unsaved: newBatch(),
		greeting: map[*websocket.Conn]string{}, waiting: map[string]int{}, events: newEvents(), talk: map[string]*talk{},
		rules: rules{overcommitCPU: config.OvercommitCPU, overcommitMemory: config.OvercommitMemory, isolated: slices.Clone(config.IsolatedRuntimes), patience: silentTimes * config.SlowAfter},
	}
	for _, h := range config.Hosts {
		f.host(h.ID).set(h)
	}
	return f, nil
}

// Run loads the records, serves until ctx ends, then ends all sessions and
// returns nil. An error means that the records could not be loaded. A fleet runs
// once; a second call panics.
func (f *Fleet) Run(ctx context.Context) error {
	if f.running.Swap(true) {
		panic("fleet: Run was called twice")
	}
	if err := f.load(ctx); err != nil {
		return fmt.Errorf("fleet: load records: %w", err)
	}
	var saver, teller sync.WaitGroup
	saver.Go(func() { f.saveAll(ctx) })
	teller.Go(f.tellSessions)
	f.tick(ctx)
	f.stop()
	f.tasks.Wait()
	saver.Wait()
	close(f.events.end)
	teller.Wait()
	return nil
}

func (f *Fleet) load(ctx context.Context) error {
	records, err := f.config.Store.Load(ctx)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.unlock()
	for _, r := range records {
		made := newRecord(r.Runner, f.host(r.Host), maps.Clone(r.Labels), share{CPU: r.CPU, Memory: r.Memory, GPUs: slices.Clone(r.GPUs)})
		made.doomed, made.stored = r.Doomed, true
		f.put(made)
	}
	f.open = true
	close(f.opened)
	f.notify()
	return nil
}

// Opened is closed when Run has loaded the records: from then on the fleet answers.
func (f *Fleet) Opened() <-chan struct{} { return f.opened }

func (f *Fleet) stop() {
	f.mu.Lock()
	defer f.unlock()
	f.open = false
	for conn := range f.greeting {
		f.tasks.Go(func() { conn.Close() }) // may wait for a TLS alert
	}
	for _, h := range f.hosts {
		if h.session != nil {
			h.session.link.Bye(wire.ErrStopping)
		}
	}
}

// tick tells of what comes by time alone: hosts that have become lost.
func (f *Fleet) tick(ctx context.Context) {
	ticker := time.NewTicker(min(max(f.config.LostAfter/20, time.Millisecond), 15*time.Second))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			f.tellLost(time.Now())
		}
	}
}

func (f *Fleet) tellLost(now time.Time) {
	f.mu.Lock()
	defer f.unlock()
	for _, h := range f.hosts {
		if f.lost(h, now) && !h.lostTold {
			h.lostTold = true
			f.notify()
			if n := h.held(); n > 0 {
				f.say(hclog.Warn, "host lost: its runners are told as ended", "host", h.name(), "runners", n, "reason", HostLost)
			}
		}
	}
}

// note is a line for the log.
type note struct {
	level hclog.Level
	text  string
	args  []any
}

// say has a line logged when the lock is given back: whoever reads the log may
// be slow. The lock is held.
func (f *Fleet) say(level hclog.Level, text string, args ...any) {
	f.notes = append(f.notes, note{level, text, args})
}

// unlock gives the lock back, then logs.
func (f *Fleet) unlock() {
	notes := f.notes
	f.notes = nil
	f.mu.Unlock()
	for _, n := range notes {
		f.log.Log(n.level, n.text, n.args...)
	}
}

// notify wakes those who Watch. The lock is held.
func (f *Fleet) notify() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// host finds a host or makes it. The lock is held.
func (f *Fleet) host(id string) *host {
	h := f.hosts[id]
	if h == nil {
		h = newHost(id, time.Now())
		h.pass = f.level
		f.hosts[id] = h
		at, _ := slices.BinarySearchFunc(f.order, id, byID)
		f.order = slices.Insert(f.order, at, h)
	}
	return h
}

func byID(h *host, id string) int { return strings.Compare(h.ID, id) }

// put adds a record. The lock is held.
func (f *Fleet) put(r *record) {
	if n := len(f.all); n > 0 && f.all[n-1].id > r.id {
		f.sorted = false
	}
	f.all = append(f.all, r)
	f.runners[r.id] = r
	r.host.runners[r.id] = r
	r.touch()
}

// drop forgets a record, and has the store forget it. The lock is held.
func (f *Fleet) drop(r *record) {
	if f.runners[r.id] != r {
		return
	}
	delete(f.runners, r.id)
	delete(r.host.runners, r.id)
	r.dropped = true
	if f.dropped++; f.dropped > 1000+len(f.runners) {
		f.listed() // nobody lists, it seems
	}
	r.touch()
	if r.known() { // there may be room again
		clear(r.host.exhausted)
	}
	f.save(r.id)
	f.notify()
}
