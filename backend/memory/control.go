package memory

import (
	"cmp"
	"slices"
	"time"

	"github.com/slipway-ci/slipway/backend"
)

// Exit ends the process of the runner id, as by itself, with code. It says
// whether there was one to end.
func (e *Engine) Exit(id string, code int) bool { return e.end(id, ending{code: code}) }

// Kill ends the process of the runner id from outside, with SIGKILL.
func (e *Engine) Kill(id string) bool { return e.end(id, ending{code: 128 + 9}) }

// Starve ends the runner id for want of memory.
func (e *Engine) Starve(id string) bool { return e.end(id, ending{code: 128 + 9, oom: true}) }

func (e *Engine) end(id string, how ending) bool {
	how.at = e.lock()
	defer e.mu.Unlock()
	r := e.runners[id]
	if r == nil || r.ended() {
		return false
	}
	e.finish(r, how)
	return true
}

// Lose takes the runner id away behind its owner's back, as an operator does
// by hand, or a host that is reinstalled. It says whether there was one.
func (e *Engine) Lose(id string) bool {
	now := e.lock()
	defer e.mu.Unlock()
	r := e.runners[id]
	if r == nil {
		return false
	}
	delete(e.runners, id)
	e.observe(Removed, now, r)
	return true
}

// SetOnline takes a host away or gives it back; its runners go on meanwhile. It
// panics on a name that Config does not have.
func (e *Engine) SetOnline(name string, online bool) {
	e.lock()
	defer e.mu.Unlock()
	e.find(name).offline = !online
	e.notify()
}

// Placed is one runner as it truly is.
type Placed struct {
	// Owner is whose it is.
	Owner string
	// Spec is what it was launched with, environment included.
	Spec backend.Spec
	// Runner is what it does, wherever it is, offline hosts included.
	Runner backend.Runner
}

// Truth tells every runner of every owner as it truly is, in the order of ids.
func (e *Engine) Truth() []Placed {
	now := e.lock()
	defer e.mu.Unlock()
	var all []Placed
	for _, r := range e.runners {
		all = append(all, Placed{Owner: r.owner, Spec: clone(r.spec), Runner: r.tell(now)})
	}
	slices.SortFunc(all, func(a, b Placed) int { return cmp.Compare(a.Spec.ID, b.Spec.ID) })
	return all
}

// NextChange is when something next happens by itself (a runner starts or ends,
// a late launch comes); zero: never.
func (e *Engine) NextChange() time.Time {
	now := e.lock()
	defer e.mu.Unlock()
	return e.turns(now)
}
