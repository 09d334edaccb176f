package provisioner

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/template"
	"github.com/slipway-ci/slipway/tokens"
)

// Loop keeps a backend at what a control plane calls for. Make it with New.
type Loop struct {
	config    Config
	log       hclog.Logger
	templates chan []template.Template
	queries   chan news
	running   atomic.Bool
	ended     chan struct{} // closed when Run has ended
	published atomic.Pointer[published]
}

// New makes a loop; Run runs it.
func New(config Config) (*Loop, error) {
	config = config.withDefaults()
	if err := config.validate(); err != nil {
		return nil, err
	}
	l := &Loop{config: config, log: config.Logger, templates: make(chan []template.Template, 1), queries: make(chan news), ended: make(chan struct{})}
	l.published.Store(&published{})
	return l, nil
}

// SetTemplates replaces the templates from the next pass on. Live runners are
// not touched: they keep the deadlines they were launched with, and those of a
// template that went away still hold their slots. On an error nothing changes.
func (l *Loop) SetTemplates(templates []template.Template) error {
	if err := checkTemplates(templates); err != nil {
		return fmt.Errorf("provisioner: templates: %w", err)
	}
	for {
		select {
		case l.templates <- slices.Clone(templates):
			return nil
		default:
		}
		select { // the newest wins
		case <-l.templates:
		default:
		}
	}
}

// Terminate asks for the end of runners, as an operator does: like a control plane's
// intent it stays, holds for busy runners too, and waits while their host can't be
// observed; it is lost with the process. reason is a word. It returns those of the
// ids that the loop knows of: none before Run and after it.
func (l *Loop) Terminate(runners []string, reason string) (known []string) {
	return l.mark(runners, func(r *Runner) {
		if !r.Fact.Unwanted {
			r.Fact.Unwanted, r.Fact.Reason, r.Retry = true, reason, time.Time{}
		}
	})
}

// Retire asks for the end of runners as soon as each is known to have no job: it is
// retired first, so that it never gets one. Busy ones go on. Without a control plane
// that can retire nothing comes of it. Otherwise it is as Terminate.
func (l *Loop) Retire(runners []string, reason string) (known []string) {
	return l.mark(runners, func(r *Runner) {
		if r.Unneeded == "" {
			r.Unneeded, r.Retry = reason, time.Time{}
		}
	})
}

// mark has the planner do something to runners, and gives those that it knows.
func (l *Loop) mark(runners []string, do func(*Runner)) (known []string) {
	if !l.running.Load() {
		return nil
	}
	answer := make(chan []string, 1)
	apply := func(ledger *ledger, _ time.Time) {
		var known []string
		for _, id := range runners {
			if r := ledger.runners[id]; r != nil {
				known = append(known, id)
				do(r)
			}
		}
		answer <- known
	}
	select {
	case l.queries <- apply:
		return <-answer
	case <-l.ended:
		return nil
	}
}

// Run runs the loop until ctx ends, then finishes what is under way for at most
// Config.DrainTimeout and returns nil: launches end, reports are sent, running
// runners are left alone, a Closer is closed. A loop runs once; a second call
// panics.
func (l *Loop) Run(ctx context.Context) error {
	if l.running.Swap(true) {
		panic("provisioner: Run was called twice")
	}
	defer close(l.ended)
	r := newRun(l, ctx)
	defer r.end()
	r.watch()
	for {
		r.pass()
		if r.drained() {
			return nil
		}
		r.wait(ctx)
	}
}

// news is something that was learned: it is applied to the ledger by the
// planner, and by nobody else.
type news func(*ledger, time.Time)

// run is one Run: the planner's own state. Deeds run in goroutines of their own
// and send news; everything else happens on the planner's goroutine.
type run struct {
	loop   *Loop
	config Config
	ledger *ledger
	news   chan news

	work    context.Context // of all deeds; ends when draining is over
	cancel  context.CancelFunc
	polling context.CancelFunc // ends the poll under way
	deeds   sync.WaitGroup
	active  atomic.Int64 // deeds under way that draining waits for
	hinted  atomic.Bool  // a hint is on its way to the planner

	timer      *time.Timer
	stopBy     time.Time // when draining is over; zero: not draining
	lastLevels Levels
}

func newRun(l *Loop, ctx context.Context) *run {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r := &run{
		loop: l, config: l.config, ledger: newLedger(l.config, time.Now()), news: make(chan news, 64),
		work: work, cancel: cancel, polling: func() {}, timer: time.NewTimer(0),
	}
	return r
}

// wait sleeps until there is news, and takes in all there is.
func (r *run) wait(ctx context.Context) {
	done := ctx.Done()
	if !r.stopBy.IsZero() {
		done = nil
	}
	select {
	case n := <-r.news:
		n(r.ledger, time.Now())
	case templates := <-r.loop.templates:
		r.ledger.setTemplates(templates, time.Now())
		r.loop.log.Info("templates replaced", "count", len(templates))
	case query := <-r.loop.queries:
		query(r.ledger, time.Now())
	case <-r.timer.C:
	case <-done:
		r.drain()
	}
	for {
		select {
		case n := <-r.news:
			n(r.ledger, time.Now())
			continue
		default:
		}
		return
	}
}

// pass decides and acts, once.
func (r *run) pass() {
	now := time.Now()
	wake := now.Add(time.Minute)
	if !r.stopBy.IsZero() {
		wake = r.stopBy
	}
	for _, a := range Plan(r.ledger.snapshot(now)) {
		if a.Do == DoWait {
			if a.Until.Before(wake) {
				wake = a.Until
			}
			continue
		}
		r.apply(a, now)
	}
	r.tails(now)
	r.publish(now)
	r.timer.Reset(max(time.Until(wake), time.Millisecond))
}

// watch has the backend's hints wake the planner, for as long as Run runs.
func (r *run) watch() {
	r.deeds.Go(func() {
		pause := newBackOff(time.Second, 30*time.Second)
		for r.work.Err() == nil {
			began := time.Now()
			ctx, cancel := context.WithTimeout(r.work, watchFor)
			err := backend.Watch(ctx, r.config.Backend, func() { r.hint(true) })
			over := ctx.Err() != nil
			cancel()
			if isUnsupported(err) {
				return
			}
			if over {
				continue
			}
			if time.Since(began) > time.Minute {
				pause.Reset()
			}
			r.hint(false)
			sleep(r.work, pause.NextBackOff())
		}
	})
}

// hint says that something may have changed, and whether more hints will come.
// They coalesce: while one is on its way to the planner another adds nothing.
func (r *run) hint(watched bool) {
	if watched && r.hinted.Swap(true) {
		return
	}
	r.tell(func(l *ledger, _ time.Time) {
		if watched {
			r.hinted.Store(false)
		}
		l.snap.Woken, l.snap.Watched = true, watched
	})
}

func (r *run) tell(n news) {
	select {
	case r.news <- n:
	case <-r.work.Done():
	}
}

// drain begins the end: no more polls, no new launches.
func (r *run) drain() {
	r.loop.log.Info("stopping: launches under way are finished, running runners are left alone")
	r.stopBy = time.Now().Add(r.config.DrainTimeout)
	r.ledger.snap.Stopping = true
	r.ledger.snap.Grants = nil
	r.polling()
}

// drained says whether there is nothing left to finish, or no time for it.
func (r *run) drained() bool {
	if r.stopBy.IsZero() {
		return false
	}
	return !time.Now().Before(r.stopBy) || r.active.Load() == 0 && len(r.ledger.outbox.events) == 0 && len(r.news) == 0
}

// end ends all deeds and gives the session back.
func (r *run) end() {
	r.cancel()
	r.timer.Stop()
	ended := make(chan struct{})
	go func() { r.deeds.Wait(); close(ended) }()
	for waiting := true; waiting; {
		select {
		case <-r.news: // nobody applies it any more
		case <-ended:
			waiting = false
		}
	}
	if c, ok := r.config.ControlPlane.(Closer); ok {
		rest := max(time.Until(r.stopBy), time.Second)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.work), rest)
		defer cancel()
		if err := c.Close(ctx); err != nil {
			r.loop.log.Warn("close the control plane's session", "err", tokens.Redact(err.Error()))
		}
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
