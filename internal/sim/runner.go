package sim

import (
	"maps"
	"time"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/provisioner"
)

// runner is one process on the engine, and what it does there.
type runner struct {
	w                   *World
	id, owner, template string
	labels              map[string]string
	host                *host
	credential          string
	n                   int // of its template
	habit               Habit
	state               backend.State
	half                bool // created and not started
	code                *int
	// by our clock
	created, started, finished time.Time
	gone                       chan struct{}
}

// credentialKey is where a registration of this control plane puts its secret.
const credentialKey = "SIM_CREDENTIAL"

// patience is how long an honest runner waits for a job.
const patience = 3 * time.Minute

func newRunner(w *World, spec backend.Spec, h *host) *runner {
	key := spec.Labels[provisioner.LabelTemplate]
	r := &runner{
		w: w, id: spec.ID, owner: owner, template: key, labels: maps.Clone(spec.Labels), host: h,
		credential: spec.Env[credentialKey], n: w.engine.born[key], state: backend.Starting,
		created: time.Now(), gone: make(chan struct{}),
	}
	w.engine.born[key]++
	r.habit = w.habit(key, r.n)
	return r
}

func (w *World) habit(key string, n int) Habit {
	if w.setup.Habit != nil {
		return w.setup.Habit(key, n)
	}
	if w.calm {
		return Honest
	}
	h := w.setup.Habits
	p := w.dice.about("habit", key, n).Float64()
	for _, c := range []struct {
		odds  float64
		habit Habit
	}{{h.Crash, Crash}, {h.Quit, Quit}, {h.Mute, Mute}, {h.Die, Die}, {h.Outlive, Outlive}} {
		if p < c.odds {
			return c.habit
		}
		p -= c.odds
	}
	return Honest
}

// start starts the process.
func (r *runner) start(spec backend.Spec) {
	r.half, r.credential = false, spec.Env[credentialKey]
	r.w.checkStart(r)
	t := r.w.dice.about("start", r.template, r.n)
	boot := t.between(10*time.Millisecond, 2*time.Second)
	if r.w.engine.memory != nil {
		boot = 0 // it says that it runs at once
	}
	r.then(boot, func() {
		r.state, r.started = backend.Running, time.Now()
		r.w.trace.say("engine: %s runs, %s", short(r.id), r.habit)
		r.w.engine.changed()
		switch r.habit {
		case Mute:
		case Crash:
			r.then(t.between(0, 3*time.Second), func() { r.end(1) })
		case Quit:
			r.then(t.between(0, 3*time.Second), func() { r.end(0) })
		default:
			r.then(t.between(100*time.Millisecond, 5*time.Second), r.register)
		}
	})
	r.w.engine.changed()
}

// register introduces the runner, and waits for its job.
func (r *runner) register() {
	if !r.w.plane.register(r) {
		r.then(time.Second, func() { r.end(1) })
		return
	}
	r.then(patience, func() {
		if r.w.plane.leave(r) {
			r.end(0)
		}
	})
}

// work does a job of so long a time.
func (r *runner) work(d time.Duration) {
	if r.habit == Die {
		r.then(d/2, func() { r.end(137) })
		return
	}
	r.then(d, func() {
		r.w.plane.done(r)
		if r.habit != Outlive {
			r.then(500*time.Millisecond, func() { r.end(0) })
		}
	})
}

// then runs f after d if the process still lives.
func (r *runner) then(d time.Duration, f func()) {
	r.w.after(d, func() {
		if r.state.HoldsSlot() {
			f()
		}
	})
}

// end ends the process.
func (r *runner) end(code int) {
	if r.state.Ended() {
		return
	}
	r.code, r.finished, r.state = &code, time.Now(), backend.Failed
	if code == 0 {
		r.state = backend.Exited
	}
	r.w.trace.say("engine: %s ended with %d", short(r.id), code)
	if m := r.w.engine.memory; m != nil {
		time.AfterFunc(0, func() { m.Exit(r.id, code) })
	}
	r.w.plane.lost(r)
	r.w.engine.changed()
}

// seen is the runner as List tells it.
func (r *runner) seen() backend.Runner {
	skewed := func(t time.Time) time.Time {
		if t.IsZero() {
			return t
		}
		return t.Add(r.w.setup.Skew)
	}
	told := backend.Runner{
		ID: r.id, Labels: maps.Clone(r.labels), State: r.state, Host: r.host.name,
		Created: skewed(r.created), Started: skewed(r.started), Finished: skewed(r.finished),
	}
	if r.code != nil {
		code := *r.code
		told.ExitCode = &code
	}
	if !r.host.online {
		told.State, told.ExitCode, told.Finished = backend.Unknown, nil, time.Time{}
	}
	return told
}
