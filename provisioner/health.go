package provisioner

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Names of facets.
const (
	FacetPoll     = "poll"     // the control plane answers polls
	FacetList     = "list"     // the backend can be observed
	FacetLaunches = "launches" // registrations are made; no template is backing off, or has runners that come to nothing
	FacetEndings  = "endings"  // runners can be ended
	FacetReports  = "reports"  // events are accepted
	FacetFacts    = "facts"    // the control plane tells facts
	FacetOwner    = "owner"    // nobody else launches under our owner's id
)

// ReasonOwnerConflict is the reason of a bad FacetOwner.
const ReasonOwnerConflict = "owner-conflict"

// ReasonNotYet is the reason of a bad FacetPoll or FacetList before there was any
// answer, a bad one included.
const ReasonNotYet = "none was good yet"

// Health is how the loop does at a moment.
type Health struct {
	// Facets, always all of them, in the same order.
	Facets []Facet
	// Templates are those of which there is something to tell, in the order in which
	// they are advertised.
	Templates []TemplateHealth
}

// TemplateHealth is how the runners of one template do.
type TemplateHealth struct {
	// Template is the key.
	Template string
	// Failures is how many in a row made it back off, Reason the last of them, and
	// Until when nothing is launched on their account. A backend of many places has
	// back-offs of its own, which are not among these.
	Failures int
	Reason   string
	Until    time.Time
	// Ends is what became of its newest runners.
	Ends Ends
}

// Template tells of one template; of one that nothing is known of, nothing.
func (h Health) Template(key string) TemplateHealth {
	i := slices.IndexFunc(h.Templates, func(t TemplateHealth) bool { return t.Template == key })
	if i < 0 {
		return TemplateHealth{Template: key}
	}
	return h.Templates[i]
}

// Facet is one side of health.
type Facet struct {
	// Name is one of the Facet constants.
	Name string `json:"name"`
	// OK is whether nothing is wrong.
	OK bool `json:"ok"`
	// Reason says what is wrong; empty where nothing is.
	Reason string `json:"reason,omitempty"`
}

// Ready says whether work can be expected to flow: the last good poll and the
// last good list are not too old, and the last list was good.
func (h Health) Ready() bool { return h.Facet(FacetPoll).OK && h.Facet(FacetList).OK }

// Facet returns the facet of that name.
func (h Health) Facet(name string) Facet {
	i := slices.IndexFunc(h.Facets, func(f Facet) bool { return f.Name == name })
	if i < 0 {
		return Facet{Name: name, Reason: "not known yet"}
	}
	return h.Facets[i]
}

// String is one line: ok, or what is wrong.
func (h Health) String() string {
	var bad []string
	for _, f := range h.Facets {
		if !f.OK {
			bad = append(bad, f.Name+": "+f.Reason)
		}
	}
	if len(bad) == 0 {
		return "ok"
	}
	return strings.Join(bad, "; ")
}

// published is what the planner shows to other goroutines after each pass.
type published struct {
	problems   map[string]string
	poll, list Call
	observed   bool
	lanes      []publishedLane // those of which there is something to tell
	failing    []string
	conflict   time.Time
}

type publishedLane struct {
	template string
	failures int
	reason   string
	until    time.Time
	ends     *Ends // it never changes
}

func (p *published) health() []TemplateHealth {
	out := make([]TemplateHealth, len(p.lanes))
	for i, l := range p.lanes {
		out[i] = TemplateHealth{Template: l.template, Failures: l.failures, Reason: l.reason, Until: l.until}
		if l.ends != nil {
			out[i].Ends = *l.ends
		}
	}
	return out
}

// Health tells how the loop does now. It may be called at any time, from any
// goroutine.
func (l *Loop) Health() Health {
	p, now := l.published.Load(), time.Now()
	limits := l.config.Limits
	h := Health{Templates: p.health()}
	add := func(name, reason string) {
		h.Facets = append(h.Facets, Facet{Name: name, OK: reason == "", Reason: reason})
	}
	// Polls that come back at once are spaced: three short waits are no measure then.
	add(FacetPoll, stale(now, p.poll, max(3*limits.PollWait, limits.PollWait+2*limits.PollMaxInterval), p.problems["poll"]))
	list := stale(now, p.list, 3*limits.ListInterval+l.config.CallTimeout, p.problems["list"])
	if list == "" && !p.observed {
		list = p.problems["list"]
	}
	add(FacetList, list)
	add(FacetLaunches, p.wrong(p.failing, "capacity", "mint", "announce"))
	add(FacetEndings, p.wrong(nil, "retire", "remove"))
	add(FacetReports, cmp.Or(p.problems["outbox"], p.problems["report"]))
	add(FacetFacts, p.problems["facts"])
	if p.conflict.IsZero() {
		add(FacetOwner, "")
	} else {
		add(FacetOwner, ReasonOwnerConflict)
	}
	return h
}

// wrong adds to what is wrong the kinds of calls of which the last one failed.
func (p *published) wrong(what []string, calls ...string) string {
	what = slices.Clone(what)
	for _, call := range calls {
		if text := p.problems[call]; text != "" {
			what = append(what, call+": "+text)
		}
	}
	return strings.Join(what, ", ")
}

// stale says why a kind of call is not well: its last good one is too old, or
// there was none.
func stale(now time.Time, c Call, limit time.Duration, problem string) string {
	if problem != "" {
		problem = ": " + problem
	}
	switch {
	case c.Done.IsZero():
		return ReasonNotYet + problem
	case now.Sub(c.Done) > limit:
		return fmt.Sprintf("the last good one was %s ago", now.Sub(c.Done).Round(time.Second)) + problem
	default:
		return ""
	}
}

// publish shows the newest state, writes the log and the levels.
func (r *run) publish(now time.Time) {
	l := r.ledger
	s := l.snapshot(now)
	p := &published{problems: maps.Clone(l.problems), poll: s.Poll, list: s.List, observed: s.Observed, conflict: s.Conflict}
	for _, key := range s.Order {
		lane := s.Lanes[key]
		if text := lane.failing(key); text != "" {
			p.failing = append(p.failing, text)
		}
		if lane.Failures > 0 || lane.Ends != nil {
			p.lanes = append(p.lanes, publishedLane{key, lane.Failures, lane.FailureReason, lane.Until, lane.Ends})
		}
	}
	r.loop.published.Store(p)
	for _, n := range l.notes {
		switch n.level {
		case "warn":
			r.loop.log.Warn(n.text, n.args...)
		default:
			r.loop.log.Info(n.text, n.args...)
		}
	}
	l.notes = nil
	r.measure(s)
}

// measure tells the levels when they changed.
func (r *run) measure(s Snapshot) {
	levels := Levels{Runners: map[string]map[string]int{}, Backoff: map[string]int{}, LastPoll: s.Poll.Done, LastList: s.List.Done, Outbox: s.Outbox}
	for _, key := range s.Order {
		levels.Runners[key] = map[string]int{}
		if n := s.Lanes[key].Failures; n > 0 {
			levels.Backoff[key] = n
		}
	}
	for _, runner := range s.Runners {
		if runner.HoldsSlot() || runner.visible() {
			if levels.Runners[runner.Template] == nil {
				levels.Runners[runner.Template] = map[string]int{}
			}
			levels.Runners[runner.Template][string(runner.state())]++
		}
	}
	if !reflect.DeepEqual(levels, r.lastLevels) {
		r.lastLevels = levels
		r.config.Metrics.Measured(levels)
	}
}
