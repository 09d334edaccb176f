package sim

import (
	"slices"
	"time"

	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/template"
)

// Count is how many runners of a template there are, in truth.
type Count struct {
	// Live hold a slot; of them Busy have a job now, and Idle wait for one.
	Live, Busy, Idle int
	// Ended are still on the engine.
	Ended int
}

// Count counts the runners of a template.
func (w *World) Count(key string) Count {
	w.mu.Lock()
	defer w.mu.Unlock()
	var c Count
	for _, r := range w.engine.runners {
		if r.owner != owner || r.template != key {
			continue
		}
		if !r.state.HoldsSlot() {
			c.Ended++
			continue
		}
		c.Live++
		switch rec := w.plane.records[r.id]; {
		case rec == nil:
		case rec.busy():
			c.Busy++
		case rec.waits():
			c.Idle++
		}
	}
	return c
}

// Started tells when processes of a template were started, from the world's
// beginning.
func (w *World) Started(key string) []time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.starts[key])
}

// Waited tells how long job n waited until it first had a runner; false: it
// still does.
func (w *World) Waited(n int) (time.Duration, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	j := w.plane.jobs[n]
	return j.began.Sub(j.queued), !j.began.IsZero()
}

// Tries tells how often job n was begun.
func (w *World) Tries(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.plane.jobs[n].tries
}

// Done says whether the jobs are done, all of them.
func (w *World) Done() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !slices.ContainsFunc(w.plane.jobs, func(j *job) bool { return j.state != jobDone && j.state != jobCancelled })
}

// Free is what was last advertised of a template.
func (w *World) Free(key string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.plane.advert.Templates {
		if s.Template == key {
			return s.Free
		}
	}
	return 0
}

// Calls counts the calls of op that were made, by any life, of any key.
func (w *World) Calls(op string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.counts["all/"+op]
}

// Reported is the last terminal state that the control plane accepted for each
// runner that it knows, in the order of ids; empty: none.
func (w *World) Reported() (states []provisioner.EventState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, rec := range w.plane.sorted() {
		states = append(states, rec.terminal)
	}
	return states
}

// Heard is how many events of a state the control plane was sent.
func (w *World) Heard(state provisioner.EventState) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.plane.heard[state]
}

// Ready says whether the loop says that it is.
func (w *World) Ready() bool {
	w.mu.Lock()
	loop := w.loop
	w.mu.Unlock()
	return loop != nil && loop.Health().Ready()
}

// Launches is how many launches this life began.
func (l *Life) Launches() int {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	return len(l.know.launches)
}

// SetOnline takes host n away, or gives it back.
func (w *World) SetOnline(n int, online bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.engine.setOnline(w.engine.hosts[n], online)
}

// SetTemplates gives the lives to come other templates.
func (w *World) SetTemplates(templates ...template.Template) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.setup.Templates = templates
}

// Reload gives the loop other templates while it runs.
func (w *World) Reload(templates ...template.Template) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.replace(templates)
}

// Life is the newest life.
func (w *World) Life() *Life {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lives[len(w.lives)-1]
}
