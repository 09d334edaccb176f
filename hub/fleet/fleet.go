package fleet

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/hub/fleet/door"
	"github.com/slipway-ci/slipway/hub/fleet/news"
	"github.com/slipway-ci/slipway/hub/fleet/placement"
	"github.com/slipway-ci/slipway/hub/fleet/records"
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
	door    *door.Door
	tasks   sync.WaitGroup // what goes on when its caller has left
	saver   *records.Saver
	sealer  records.Sealer
	opened  chan struct{} // closed when the records are loaded

	mu      sync.Mutex // never held across anything that waits
	open    bool       // the records are loaded, and Run has not ended
	hosts   map[string]*host
	order   []*host // the same, by id
	runners map[string]*record
	all     []*record // the same, and dropped ones
	sorted  bool      // all is in the order of the ids
	dropped int       // how many in all are
	gone    records.Gone[trace]
	placer  *placement.Placer
	changed chan struct{} // closed and made anew at every change
	notes   []note        // for the log, once the lock is given back
	events  *news.Queue
	talk    map[string]*talk // by host
}

// New makes a fleet. Until Run has loaded the records it knows nothing.
func New(config Config) (*Fleet, error) {
	config = config.withDefaults()
	if err := config.validate(); err != nil {
		return nil, err
	}
	f := &Fleet{
		config: config, log: config.Logger, opened: make(chan struct{}),
		hosts: map[string]*host{}, runners: map[string]*record{}, sorted: true, changed: make(chan struct{}),
		events: news.NewQueue(config.Sessions), talk: map[string]*talk{}, sealer: config.SealKey,
		placer: placement.New(placement.Config{
			OvercommitCPU: config.OvercommitCPU, OvercommitMemory: config.OvercommitMemory, IsolatedRuntimes: slices.Clone(config.IsolatedRuntimes),
			SlowAfter: config.SlowAfter, RetryMin: config.RetryMin, RetryMax: config.RetryMax,
		}),
	}
	f.door, f.saver = f.newDoor(), records.NewSaver(config.Store, f.kept, f.log)
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
	saver.Go(func() { f.saver.Run(ctx) })
	teller.Go(f.events.Run)
	f.tick(ctx)
	f.stop()
	f.door.Wait()
	f.tasks.Wait()
	saver.Wait()
	f.events.End()
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
		f.put(restored(r, f.host(r.Host)))
	}
	f.open = true
	f.door.Open()
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
	f.door.Close()
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
		h = newHost(id, f.placer.NewHost(), time.Now())
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
		f.gone.Add(r.id, r.trace(), time.Now())
		r.host.place.Freed()
	}
	f.saver.Save(r.id)
	f.notify()
}
