package sim

import (
	"errors"
	"time"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/provisioner"
)

// knowledge is what one life of the loop has been told: what it may, and must,
// act on.
type knowledge struct {
	mints     map[string]*mintTold
	announced map[string]bool
	prepared  map[string]bool
	launches  map[string]*launchTold
	open      map[string]*launchTold // those that may live
	removed   map[string]bool        // Remove answered nil
	intents   map[string]time.Time
	retired   map[string]bool
	accepted  map[string]eventTold
	sent      map[string]provisioner.EventState // the last terminal state sent
	tries     map[eventKey]bool                 // events that were sent
	rejected  map[string]bool                   // by runner, alone or with others
	hopeless  map[eventKey]bool                 // rejected alone
	grants    map[string]grantTold
	levels    map[string]int
	tried     map[string][]time.Time // by deed and runner
	// last and before are the last two listings; failed is since when Lists fail.
	last, before *listTold
	failed       time.Time
	listBegan    time.Time
	polling      bool
	polls        []time.Time // of those that followed one without news
	news         bool        // the last poll brought some
	closed       bool
}

type mintTold struct {
	began, expires time.Time
	credential     string
	template       string
	grant          string
}

type outcome int

const (
	underway outcome = iota
	answered
	definite
	uncertain
)

type launchTold struct {
	began, ended time.Time
	template     string
	outcome      outcome
	listed       bool // a listing showed it since
}

type eventKey struct {
	runner string
	state  provisioner.EventState
	at     time.Time
}

type sentAt struct {
	at time.Time
	by *Life
}

type eventTold struct {
	state provisioner.EventState
	at    time.Time
}

type grantTold struct {
	count    int
	asked    int // registrations, less those that a failed call asked for
	launched int
	expires  time.Time
}

type listTold struct {
	at, began time.Time
	states    map[string]backend.State
}

func newKnowledge() knowledge {
	return knowledge{
		mints: map[string]*mintTold{}, announced: map[string]bool{}, prepared: map[string]bool{},
		launches: map[string]*launchTold{}, open: map[string]*launchTold{}, removed: map[string]bool{}, intents: map[string]time.Time{},
		retired: map[string]bool{}, accepted: map[string]eventTold{}, sent: map[string]provisioner.EventState{},
		rejected: map[string]bool{}, hopeless: map[eventKey]bool{}, tries: map[eventKey]bool{}, grants: map[string]grantTold{}, levels: map[string]int{}, tried: map[string][]time.Time{},
	}
}

// listed is told a listing.
func (l *Life) listed(listing backend.Listing) {
	k := &l.know
	seen := &listTold{at: time.Now(), began: listing.Began, states: map[string]backend.State{}}
	for _, r := range listing.Runners {
		seen.states[r.ID] = r.State
		if own := k.launches[r.ID]; own != nil {
			own.listed = true
		}
	}
	k.before, k.last, k.failed = k.last, seen, time.Time{}
}

// unlisted is told that nothing is known.
func (l *Life) unlisted() {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if l.know.failed.IsZero() {
		l.know.failed = time.Now()
	}
}

// endLaunch is told how a launch ended.
func (l *Life) endLaunch(id string, err error) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	own := l.know.launches[id]
	if own == nil {
		return
	}
	own.ended = time.Now()
	switch {
	case err == nil, errors.Is(err, backend.ErrExists):
		own.outcome = answered
	case own.outcome == underway && backend.IsDefinite(err):
		own.outcome = definite
	case own.outcome == underway:
		own.outcome = uncertain
	}
}

// removed is told that a runner is gone.
func (l *Life) removed(id string) { l.know.removed[id] = true }

// unminted is told that there are none.
func (l *Life) unminted(requests []provisioner.MintRequest) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	for _, q := range requests {
		if g, ok := l.know.grants[q.Reservation]; ok {
			g.asked--
			l.know.grants[q.Reservation] = g
		}
	}
}

// minted is told registrations.
func (l *Life) minted(requests []provisioner.MintRequest, made []provisioner.Registration) {
	for _, q := range requests {
		for _, r := range made {
			if r.Runner != q.Runner || l.know.mints[q.Runner] == nil {
				continue
			}
			told := l.know.mints[q.Runner]
			told.credential = r.Env[credentialKey]
			if r.Lifetime > 0 {
				told.expires = time.Now().Add(r.Lifetime)
			}
		}
	}
}

// polled is told demand.
func (l *Life) polled(d provisioner.Demand) {
	l.know.news = len(d.Grants) > 0
	for _, t := range d.Targets {
		was, ok := l.know.levels[t.Template]
		l.know.news = l.know.news || !ok || was != t.Count
		l.know.levels[t.Template] = t.Count
	}
	for _, g := range d.Grants {
		told, ok := l.know.grants[g.Reservation]
		if !ok {
			told.count = g.Count
		}
		told.expires = time.Now().Add(g.Lifetime)
		l.know.grants[g.Reservation] = told
		l.w.trace.say("life %d is told of %s", l.n, g.Reservation)
	}
	l.learned(d.Facts)
}

// learned is told facts.
func (l *Life) learned(facts []provisioner.Fact) {
	for _, f := range facts {
		if _, ok := l.know.intents[f.Runner]; f.Unwanted && !ok {
			l.know.news = true
			l.know.intents[f.Runner] = time.Now()
			l.w.trace.say("life %d is told that %s is unwanted", l.n, short(f.Runner))
		}
	}
}

// intentTold says whether the living life knows that a runner is unwanted.
func (w *World) intentTold(id string) bool {
	if len(w.lives) == 0 {
		return false
	}
	_, ok := w.lives[len(w.lives)-1].know.intents[id]
	return ok
}

// accepted is told that events were.
func (l *Life) accepted(events []provisioner.Event) {
	for _, e := range events {
		l.know.accepted[e.Runner] = eventTold{e.State, e.At}
	}
}

// endReport is told that events will never be accepted.
func (l *Life) endReport(events []provisioner.Event, err error) {
	if !errors.Is(err, provisioner.ErrRejected) {
		return
	}
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	for _, e := range events {
		l.know.rejected[e.Runner] = true
		if len(events) == 1 {
			l.know.hopeless[eventKey{e.Runner, e.State, e.At}] = true
		}
	}
}
