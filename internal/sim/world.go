package sim

import (
	"context"
	"sync"
	"time"

	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/template"
)

// World is one engine, one control plane, and the lives of a loop between them.
type World struct {
	setup  Setup
	origin []template.Template
	limits provisioner.Limits
	dice   dice

	mu      sync.Mutex
	trace   *trace
	counts  map[string]int
	calm    bool // no more faults
	calmed  chan struct{}
	kill    float64 // the chance, per call, that the life ends
	lives   []*Life
	loop    *provisioner.Loop // of the newest life
	before  Setup             // until changed
	changed time.Time         // when the templates last were
	engine  *engine
	plane   *plane

	instant  time.Time // for pace
	atOnce   int
	canaries []string
	starts   map[string][]time.Duration
	lastAt   map[string]sentAt // the newest event of each runner
}

// NewWorld makes a world. Call it in the bubble in which it is to live.
func NewWorld(setup Setup) *World {
	w := &World{
		setup: setup, origin: setup.Templates, limits: setup.limits(), dice: dice(setup.Seed),
		trace: newTrace(setup.Trace), calmed: make(chan struct{}), counts: map[string]int{}, starts: map[string][]time.Duration{}, lastAt: map[string]sentAt{},
	}
	w.engine, w.plane = newEngine(w), newPlane(w)
	return w
}

// Over is closed when an invariant is broken.
func (w *World) Over() <-chan struct{} { return w.trace.over }

// Broken tells which invariants were broken.
func (w *World) Broken() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.trace.broken...)
}

// Transcript tells the last events.
func (w *World) Transcript() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.trace.String()
}

// Breaks records what a test found broken.
func (w *World) Breaks(rule, format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trace.breaks(rule, format, args...)
}

// Calm ends the faults: hosts come back, nothing more is lost, calls that hang
// end.
func (w *World) Calm() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.calm {
		return
	}
	w.calm, w.kill = true, 0
	close(w.calmed)
	w.replace(w.origin)
	w.trace.say("calm")
	for _, h := range w.engine.hosts {
		w.engine.setOnline(h, true)
	}
	w.plane.locked = false
	w.plane.turn()
}

func (w *World) isCalm() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.calm
}

// Kills makes each call the last of its life with chance p.
func (w *World) Kills(p float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.kill = p
}

// replace gives the loop other templates while it runs.
func (w *World) replace(templates []template.Template) {
	w.before, w.changed = w.setup, time.Now()
	w.setup.Templates = templates
	for _, t := range templates {
		w.trace.say("template %s may have %d", t.Key, t.MaxConcurrency)
	}
	if w.loop == nil {
		return
	}
	if err := w.loop.SetTemplates(templates); err != nil {
		w.trace.breaks("templates", "%v", err)
	}
}

// most is how many runners of a template the loop must believe to be allowed;
// false: there is no such template.
func (w *World) most(key string) (int, bool) {
	t, ok := w.setup.template(key)
	if time.Since(w.changed) < settled {
		was, known := w.before.template(key)
		return max(t.MaxConcurrency, was.MaxConcurrency), ok || known
	}
	return t.MaxConcurrency, ok
}

// after runs f under the lock, d from now.
func (w *World) after(d time.Duration, f func()) *time.Timer {
	return time.AfterFunc(d, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		f()
	})
}

// spin is how many calls a loop may make in one instant of fake time: more is a
// loop that turns without waiting, and would never end.
const spin = 20000

// pace ends a world in which time has stopped: the caller's goroutine is the
// one that must give way, so it sleeps.
func (w *World) pace() {
	now := time.Now()
	if !now.Equal(w.instant) {
		w.instant, w.atOnce = now, 0
	}
	if w.atOnce++; w.atOnce == spin {
		w.trace.breaks("pace", "%d calls in one instant", spin)
	}
	if w.atOnce >= spin {
		w.mu.Unlock()
		time.Sleep(time.Second)
		w.mu.Lock()
	}
}

// doom says whether a call is the last of its life.
type doom int

const (
	spared doom = iota
	doomBefore
	doomAfter
)

func (w *World) doom(l *Life) doom {
	w.counts["calls"]++
	if n := w.setup.KillAt; n > 0 && (n+1)/2 == w.counts["calls"] {
		return []doom{doomBefore, doomAfter}[n%2]
	}
	if w.kill == 0 || time.Since(l.born) < 3*time.Second {
		return spared
	}
	t := w.dice.about("doom", w.counts["calls"])
	if !t.chance(w.kill) {
		return spared
	}
	return pick(t, doomBefore, doomAfter)
}

// Life is one process in which the loop runs.
type Life struct {
	w      *World
	n      int
	born   time.Time
	cancel context.CancelFunc
	dead   chan struct{}
	// stopped is when its ctx ended, for a clean stop.
	stopped time.Time
	know    knowledge
}

// NewLife begins a life: its ctx is what to run the loop with.
func (w *World) NewLife(ctx context.Context) (*Life, context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	l := &Life{w: w, n: len(w.lives), born: time.Now(), cancel: cancel, dead: make(chan struct{}), know: newKnowledge()}
	w.lives = append(w.lives, l)
	w.trace.say("life %d begins", l.n)
	return l, ctx
}

// Dead is closed when the life was killed.
func (l *Life) Dead() <-chan struct{} { return l.dead }

// Kill ends the life as a power cut does.
func (l *Life) Kill() { l.kill() }

func (l *Life) kill() {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if l.isDead() {
		return
	}
	l.w.trace.say("life %d is killed", l.n)
	close(l.dead)
	l.cancel()
}

// Stop ends the life's ctx, as the first signal does.
func (l *Life) Stop() {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	l.w.trace.say("life %d is asked to stop", l.n)
	l.stopped = time.Now()
	l.cancel()
}

func (l *Life) isDead() bool {
	select {
	case <-l.dead:
		return true
	default:
		return false
	}
}
