package memory

import (
	"maps"
	"slices"
	"time"

	"github.com/slipway-ci/slipway/backend"
)

// Program is what a runner does. The zero value starts at once and runs until
// it is told to end.
type Program struct {
	// Err, when set, is why it can't be launched: Launch answers it, wrapped, and
	// makes nothing. It should wrap one of the definite errors.
	Err error
	// Start is how long the runner is Starting.
	Start time.Duration
	// Run is how long it runs after that; 0: until Exit, Kill or Remove.
	Run time.Duration
	// Instant ends it as soon as it has started, with Run 0.
	Instant bool
	// ExitCode is how it ends by itself.
	ExitCode int
	// OOM makes it run out of memory when it ends by itself.
	OOM bool
	// Error is the engine's text on why it failed.
	Error string
	// Stop is how long the process lives on after it was asked to end.
	Stop time.Duration
	// Output is what it prints when it starts, in lines.
	Output []string
}

// runner is one entry of the table. All its times are by our clock.
type runner struct {
	owner   string
	spec    backend.Spec
	program Program
	host    *host

	created  time.Time
	launched time.Time // zero: half made
	stopping time.Time // zero: not asked to end
	end      *ending   // nil: its process has not ended
}

type ending struct {
	at   time.Time
	code int
	oom  bool
	text string
}

func (r *runner) ended() bool { return r.end != nil }

func (r *runner) started() time.Time { return r.launched.Add(r.program.Start) }

// due is how the runner will end if nobody does anything; false: it won't.
func (r *runner) due() (ending, bool) {
	if r.ended() || r.launched.IsZero() {
		return ending{}, false
	}
	p := r.program
	own := ending{at: r.started().Add(p.Run), code: p.ExitCode, oom: p.OOM, text: p.Error}
	byItself := p.Run > 0 || p.Instant
	if r.stopping.IsZero() {
		return own, byItself
	}
	told := ending{at: r.stopping.Add(p.Stop), code: 128 + 15}
	if byItself && !own.at.After(told.at) {
		return own, true
	}
	return told, true
}

// turns is when the runner next changes by itself; zero: never.
func (r *runner) turns(now time.Time) time.Time {
	if !r.launched.IsZero() && !r.ended() && now.Before(r.started()) {
		return r.started()
	}
	if end, ok := r.due(); ok {
		return end.at
	}
	return time.Time{}
}

func (r *runner) state(now time.Time) backend.State {
	switch {
	case r.ended() && r.end.code == 0 && !r.end.oom:
		return backend.Exited
	case r.ended():
		return backend.Failed
	case !r.stopping.IsZero():
		return backend.Stopping
	case r.launched.IsZero() || now.Before(r.started()):
		return backend.Starting
	}
	return backend.Running
}

// tell describes the runner as its host sees it at now.
func (r *runner) tell(now time.Time) backend.Runner {
	told := backend.Runner{
		ID:      r.spec.ID,
		Labels:  maps.Clone(r.spec.Labels),
		State:   r.state(now),
		Host:    r.host.Name,
		Created: r.created.Add(r.host.Skew),
	}
	if !r.launched.IsZero() && !now.Before(r.started()) {
		told.Started = r.started().Add(r.host.Skew)
	}
	if r.ended() {
		code := r.end.code
		told.ExitCode, told.OOMKilled, told.Error = &code, r.end.oom, r.end.text
		told.Finished = r.end.at.Add(r.host.Skew)
	}
	return told
}

// finish ends the runner's process.
func (e *Engine) finish(r *runner, end ending) {
	r.end = &end
	e.observe(Ended, end.at, r)
}

// lateLaunch is a launch whose answer was lost before its effect.
type lateLaunch struct {
	at    time.Time
	apply func(at time.Time)
}

// settle applies what is due by now, in the order of time.
func (e *Engine) settle(now time.Time) {
	for {
		at, apply := e.nextDue()
		if apply == nil || at.After(now) {
			return
		}
		apply()
	}
}

// nextDue finds what is due first; ties go by id, so that a run can be repeated.
func (e *Engine) nextDue() (at time.Time, apply func()) {
	var first *runner
	var end ending
	for _, r := range e.runners {
		d, ok := r.due()
		if ok && (first == nil || d.at.Before(end.at) || d.at.Equal(end.at) && r.spec.ID < first.spec.ID) {
			first, end = r, d
		}
	}
	if first != nil {
		at, apply = end.at, func() { e.finish(first, end) }
	}
	for i, l := range e.late {
		if apply == nil || l.at.Before(at) {
			at, apply = l.at, func() {
				e.late = slices.Delete(e.late, i, i+1)
				l.apply(l.at)
			}
		}
	}
	return at, apply
}
