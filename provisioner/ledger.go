package provisioner

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/template"
	"github.com/slipway-ci/slipway/tokens"
)

// ledger is all that the loop remembers. The planner owns it: nothing else
// reads or writes it. All of it may be lost, a restart is an ordinary pass.
type ledger struct {
	snap    Snapshot // what decisions see; Now and Runners are filled in by snapshot
	started time.Time
	sole    bool // nobody else launches under our owner's id
	metrics Metrics
	ended   func(End) // may be nil

	runners map[string]*Runner
	sorted  []*Runner // runners by id; nil when it has to be made anew
	lanes   map[string]*lane
	outbox  outbox
	stats   []Stat
	// statsBegan is when the poll that told stats began, statsAt when it answered.
	statsBegan, statsAt time.Time
	problems            map[string]string // the last error of each kind of call, for health
	repeats             map[string]int    // how often each kind has failed in a row
	granted             map[string]taken  // reservations that were taken, until they are forgotten
	rivals              rivals
	blamer              backend.Blamer // nil: the backend is one place
	spacing             time.Duration  // pause after an empty poll
	notes               []note         // for the log, of what was learned
	retries             map[string]*backoff.ExponentialBackOff
}

// lane is a Lane with what only the ledger needs.
type lane struct {
	Lane
	next       *backoff.ExponentialBackOff
	since      time.Time // when the template was edited last; zero: never
	rowBegun   time.Time // when the first runner of Ends.Row was begun
	refusals   int       // of announcements, in a row
	cleanExits int       // in a row, without a job known
	stuckSince time.Time // the first of them
	view       queueView // of the queue at the last of them
}

// rivals is what was seen of another loop with our owner's id.
type rivals struct{ first, last time.Time }

// taken is a grant that was taken, remembered so that it is not taken twice.
type taken struct {
	HeldGrant
	until time.Time
}

// note is a line for the log.
type note struct {
	level string
	text  string
	args  []any
}

func newLedger(c Config, now time.Time) *ledger {
	l := &ledger{
		started: now, sole: c.SoleOwner, metrics: c.Metrics, ended: c.Ended,
		runners: map[string]*Runner{}, lanes: map[string]*lane{}, outbox: newOutbox(),
		problems: map[string]string{}, repeats: map[string]int{}, granted: map[string]taken{}, retries: map[string]*backoff.ExponentialBackOff{},
		snap: Snapshot{Limits: c.Limits, Targets: map[string]Target{}, Woken: true, Able: abilities(c)},
	}
	l.blamer, _ = c.Backend.(backend.Blamer)
	l.setTemplates(c.Templates, time.Time{})
	return l
}

// abilities asks the control plane's type; the backend's turn out when tried.
func abilities(c Config) Abilities {
	_, announce := c.ControlPlane.(Announcer)
	_, facts := c.ControlPlane.(Knower)
	_, retire := c.ControlPlane.(Retirer)
	_, prepare := c.Backend.(backend.Preparer)
	_, capacity := c.Backend.(backend.Sizer)
	return Abilities{Announce: announce, Facts: facts, Retire: retire, Prepare: prepare, Capacity: capacity, Warm: true}
}

// setTemplates takes templates over. One that was edited begins anew: whoever has
// mended what made it fail is not to wait for its back-off.
func (l *ledger) setTemplates(templates []template.Template, now time.Time) {
	before := l.snap.Index
	l.snap.Index = template.NewIndex(templates)
	l.snap.Order = l.snap.Order[:0:0]
	l.snap.Woken = true // a look brings the room of new ones
	for _, t := range templates {
		l.snap.Order = append(l.snap.Order, t.Key)
		had := l.lanes[t.Key]
		switch {
		case had == nil:
			l.lanes[t.Key] = &lane{next: crashBackOff()}
		case before.Get(t.Key) == nil || !reflect.DeepEqual(*before.Get(t.Key), t):
			l.lanes[t.Key] = &lane{
				Lane: Lane{Room: had.Room, Preparing: had.Preparing, LaunchTook: had.LaunchTook, MintRetry: had.MintRetry, LevelRetry: had.LevelRetry}, next: crashBackOff(), since: now,
			}
		}
	}
}

// snapshot is the newest state, for Plan. It shares the runners with the
// ledger: it holds until the next news.
func (l *ledger) snapshot(now time.Time) Snapshot {
	if l.sorted == nil {
		l.sorted = slices.SortedFunc(maps.Values(l.runners), func(a, b *Runner) int { return cmp.Compare(a.ID, b.ID) })
	}
	s := l.snap
	s.Now, s.Runners = now, l.sorted
	s.Outbox, s.ReportBatch = len(l.outbox.events), l.outbox.batch
	s.Lanes = make(map[string]Lane, len(l.lanes))
	for key, lane := range l.lanes {
		s.Lanes[key] = lane.Lane
	}
	s.Conflict = time.Time{}
	if now.Sub(l.rivals.last) < conflictPatience && !l.rivals.last.IsZero() {
		s.Conflict = l.rivals.first
	}
	return s
}

func (l *ledger) add(r *Runner) {
	l.runners[r.ID] = r
	l.sorted = nil
}

func (l *ledger) forget(id string) {
	delete(l.runners, id)
	delete(l.retries, id)
	l.sorted = nil
}

// note puts down a line for the log. Texts of others are cleaned of secrets here.
func (l *ledger) note(level, text string, args ...any) {
	for i, arg := range args {
		switch arg := arg.(type) {
		case error:
			args[i] = tokens.Redact(arg.Error())
		case string:
			args[i] = tokens.Redact(arg)
		}
	}
	l.notes = append(l.notes, note{level, text, args})
}

// begin makes n new runners of the template for the reservation, to be minted.
func (l *ledger) begin(a Action, now time.Time) []*Runner {
	t := l.snap.Index.Get(a.Template)
	workspace := ""
	for i := range l.snap.Grants {
		if g := &l.snap.Grants[i]; g.Reservation == a.Reservation && a.Reservation != "" {
			g.Left -= a.Count
			workspace = g.Workspace
		}
	}
	l.snap.Grants = slices.DeleteFunc(l.snap.Grants, func(g HeldGrant) bool { return g.Left <= 0 })

	begun := make([]*Runner, a.Count)
	for i := range begun {
		r := &Runner{
			ID: newID(now), Template: t.Key, Reservation: a.Reservation,
			Phase: Minting, Since: now, Begun: now, Born: now,
			RegistrationDeadline: cmp.Or(t.RegistrationDeadline, l.snap.Limits.RegistrationDeadline),
			MaxLifetime:          cmp.Or(t.MaxLifetime, l.snap.Limits.MaxLifetime),
		}
		r.Labels = runnerLabels(r, t, workspace)
		l.add(r)
		begun[i] = r
	}
	return begun
}

func runnerLabels(r *Runner, t *template.Template, workspace string) map[string]string {
	labels := map[string]string{
		LabelTemplate:             t.Key,
		LabelLabels:               strings.Join(t.Labels, ","),
		LabelRegistrationDeadline: r.RegistrationDeadline.String(),
		LabelMaxLifetime:          r.MaxLifetime.String(),
	}
	if r.Reservation != "" {
		labels[LabelReservation] = r.Reservation
	}
	if workspace != "" {
		labels[LabelWorkspace] = workspace
	}
	return labels
}

// rank orders the states of events: told ones only move up.
var rank = map[EventState]int{
	EventStarting: 1, EventRunning: 2, EventStopping: 3, EventStopped: 4, EventFailed: 5, EventTerminated: 6,
}

// tell puts an event about r into the outbox, unless it says nothing new.
func (l *ledger) tell(r *Runner, state EventState, reason string, now time.Time) {
	if r.Told.Terminal() || rank[state] <= rank[r.Told] {
		return
	}
	if state.Terminal() {
		if !r.old() {
			l.metrics.Ended(r.Template, string(state), reasonWord(reason))
		}
		r.why = reason
	}
	l.post(r, state, reason, now)
}

// post puts an event into the outbox.
func (l *ledger) post(r *Runner, state EventState, reason string, now time.Time) {
	r.Told, r.ToldAt = state, later(now, r.ToldAt)
	reason = tokens.Redact(reason)
	r.Untold++
	dropped := l.outbox.put(Event{Runner: r.ID, Labels: r.Labels, State: state, Reason: reason, At: r.ToldAt})
	if dropped != nil {
		l.settled([]Event{*dropped})
		l.problems["outbox"] = "full: the oldest events are dropped"
	}
}

// settled notes that events left the outbox.
func (l *ledger) settled(events []Event) {
	for _, e := range events {
		if r := l.runners[e.Runner]; r != nil {
			r.Untold--
		}
	}
}

// reasonWord is the first word of a reason, for metrics: what comes behind a
// colon is for people.
func reasonWord(reason string) string {
	word, _, _ := strings.Cut(reason, ":")
	return word
}

// retryIn is the growing pause, with jitter, before the next try of what key
// names; retryDone ends it.
func (l *ledger) retryIn(key string) time.Duration {
	b := l.retries[key]
	if b == nil {
		b = newBackOff(time.Second, 30*time.Second)
		l.retries[key] = b
	}
	return b.NextBackOff()
}

func (l *ledger) retryDone(key string) { delete(l.retries, key) }

func crashBackOff() *backoff.ExponentialBackOff { return newBackOff(time.Second, 5*time.Minute) }

// newBackOff doubles from first to most, with 20 % of jitter, and never ends.
func newBackOff(first, most time.Duration) *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(first), backoff.WithMaxInterval(most), backoff.WithMultiplier(2),
		backoff.WithRandomizationFactor(0.2), backoff.WithMaxElapsedTime(0),
	)
}
