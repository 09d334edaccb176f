package provisioner

import (
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/template"
	"github.com/slipway-ci/slipway/tokens"
)

// polled takes in the answer to the poll that began then.
func (l *ledger) polled(began, now time.Time, demand Demand, err error, cancelled bool) {
	c := &l.snap.Poll
	c.Busy = false
	switch {
	case err != nil && cancelled:
		c.Next = time.Time{} // sent anew at once
		return
	case err != nil:
		l.failed("poll", err)
		c.Next = now.Add(l.retryIn("poll"))
		return
	}
	l.succeeded("poll")
	first := c.Done.IsZero()
	c.Done, c.Next = now, time.Time{}
	granted := l.takeGrants(demand.Grants, now)
	changed := l.takeTargets(demand.Targets, began)
	changed = l.takeFacts(demand.Facts, began, now) || changed
	l.takeStats(demand.Stats, began, now)
	if granted || changed || first || now.Sub(began) >= l.snap.Limits.PollInterval {
		l.spacing = 0
		if !granted {
			c.Next = began.Add(pollSpacing)
		}
		return
	}
	l.spacing = min(max(l.spacing*3/2, l.snap.Limits.PollInterval), l.snap.Limits.PollMaxInterval)
	c.Next = now.Add(l.spacing)
}

// takeGrants puts grants into the ledger, each reservation once.
func (l *ledger) takeGrants(grants []Grant, now time.Time) bool {
	for id, t := range l.granted {
		if now.After(t.until) {
			delete(l.granted, id)
		}
	}
	granted := false
	for _, g := range grants {
		labels, err := template.Canonical(g.Labels)
		if _, again := l.granted[g.Reservation]; again || g.Count < 1 || g.Reservation == "" || err != nil {
			l.note("warn", "grant passed over", "reservation", g.Reservation, "reason", grantFault(again, err))
			continue
		}
		g.Labels = labels
		held := HeldGrant{Grant: g, Left: g.Count}
		if g.Lifetime > 0 {
			held.Expires = now.Add(g.Lifetime)
		}
		l.granted[g.Reservation] = taken{held, now.Add(max(time.Hour, 2*g.Lifetime))}
		l.snap.Grants = append(l.snap.Grants, held)
		granted = true
		l.note("info", "granted", "reservation", g.Reservation, "labels", g.Labels, "count", g.Count)
	}
	return granted
}

func grantFault(again bool, err error) string {
	switch {
	case again:
		return "given before"
	case err != nil:
		return err.Error()
	default:
		return "a reservation and a count of 1 or more are needed"
	}
}

// takeTargets replaces the levels that are told.
func (l *ledger) takeTargets(targets []Target, began time.Time) bool {
	before := maps.Clone(l.snap.Targets)
	changed := false
	for _, t := range targets {
		t.Count = max(t.Count, 0)
		if t.ReadAt.IsZero() || t.ReadAt.Before(began) {
			t.ReadAt = began
		}
		l.snap.Targets[t.Template] = t
	}
	for _, t := range targets { // of two for one template the last counts
		was, told := before[t.Template]
		changed = changed || !told || was.Count != l.snap.Targets[t.Template].Count
	}
	return changed
}

// takeFacts takes in what is known of runners as of then. What is known for
// good stays: a yes, and that a runner is unwanted.
func (l *ledger) takeFacts(facts []Fact, asOf, now time.Time) (changed bool) {
	for _, f := range facts {
		r := l.runners[f.Runner]
		if r == nil {
			continue
		}
		before := r.Fact
		r.Fact, r.Working = merge(before, f), f.Busy == Yes || f.Job != ""
		r.FactAt = later(r.FactAt, asOf)
		if r.Fact.Unwanted && !before.Unwanted {
			r.Retry, changed = time.Time{}, true
		}
		if r.Fact.Registered == Yes && before.Registered != Yes {
			l.metrics.Registered(r.Template, now.Sub(r.Born))
		}
		if r.Fact.Busy == Yes || r.Fact.Job != "" {
			r.judged = true
			l.proven(r)
		} else if r.Fact.Registered == Yes && r.HoldsSlot() && now.Sub(r.Born) >= crashWindow {
			l.proven(r)
		}
		idle := r.Fact.Registered == Yes && r.Fact.Busy == No && r.HoldsSlot()
		switch {
		case !idle:
			r.IdleSince = time.Time{}
		case r.IdleSince.IsZero():
			r.IdleSince = now
		}
	}
	return changed
}

func merge(before, news Fact) Fact {
	if before.Registered == Yes {
		news.Registered = Yes
	}
	if before.Busy == Yes {
		news.Busy = Yes
	}
	if news.Job == "" {
		news.Job = before.Job
	}
	if before.Unwanted && !news.Unwanted {
		news.Unwanted, news.Reason = true, before.Reason
	}
	return news
}

// proven clears the failures of the runner's template: it had a job, or it has
// been waiting for one longer than a crash takes.
func (l *ledger) proven(r *Runner) {
	if l.blamer != nil && !r.proved {
		r.proved = true
		l.blamer.Proved(r.ID)
	}
	lane := l.lanes[r.Template]
	if lane == nil {
		return
	}
	lane.broken(r.Begun)
	if !r.Begun.Before(lane.LastFailure) {
		l.healthy(r.Template, lane)
	}
}

// judge weighs an end: was it a crash?
func (l *ledger) judge(r *Runner, now time.Time) {
	lane := l.lanes[r.Template]
	if r.judged || lane == nil {
		return
	}
	lived := r.Ended.Sub(later(r.Begun, r.Born))
	noJob := r.Fact.Busy == No && r.FactAt.After(r.Ended)
	gone := r.end == nil // it was removed, or has disappeared
	clean := !gone && r.end.State == backend.Exited
	switch {
	case r.Removing != "", r.Fact.Busy == Yes, clean && r.Fact.Registered == Yes && r.Fact.Busy == Unknown:
	case gone:
		if (noJob || r.Fact.Registered == No) && lived < crashWindow {
			l.blame(r, lane, fmt.Sprintf("%s: after %s, without a job", ReasonDisappeared, lived.Round(time.Millisecond)), now)
		}
	case !clean && r.Fact.Registered != Yes:
		l.blame(r, lane, endReason(r.end), now)
	case noJob && lived < crashWindow:
		l.blame(r, lane, fmt.Sprintf("no-job: ended after %s without a job", lived.Round(time.Millisecond)), now)
	case clean && lived >= crashWindow:
		lane.broken(r.Begun)
		l.healthy(r.Template, lane)
	case clean && !l.statsBegan.After(r.Ended):
		return // what became of the queue since is not told yet
	case clean:
		l.exitedClean(r, lane, now)
	}
	r.judged = true
}

// exitedClean weighs a clean exit soon after the start of which no job is known.
// Several in a row, while nobody takes anything from the queue, are a crash. A
// queue that grows is no proof, and one look at it is evidence once.
func (l *ledger) exitedClean(r *Runner, lane *lane, now time.Time) {
	view := l.queue(r.Template)
	if lane.cleanExits > 0 {
		switch taken := view.taken(lane.view, now.Sub(lane.stuckSince)); {
		case !view.at.After(lane.view.at), taken == Unknown:
			return
		case taken == Yes:
			lane.broken(r.Begun)
			l.healthy(r.Template, lane)
		}
	}
	if lane.cleanExits++; lane.cleanExits == 1 {
		lane.stuckSince = now
	}
	lane.view = view
	if lane.cleanExits >= idleCrashes && view.queued > 0 {
		r.crash = true
		l.crashed(r.Template, lane, r.Begun, fmt.Sprintf("no-job: %d ended with exit code 0 and nothing is taken from the queue", lane.cleanExits), now)
	}
}

// queueView is what was told of the jobs that a template could serve.
type queueView struct {
	at     time.Time
	queued int
	oldest time.Time // since when the oldest has waited, by our clock; zero: unknown
}

// taken says whether somebody has taken a job since before. Of a queue that
// grows that is unknown, until its oldest job has been the same for long.
func (v queueView) taken(before queueView, stuck time.Duration) Known {
	oldest := !v.oldest.IsZero() && !before.oldest.IsZero()
	switch {
	case v.queued < before.queued, oldest && v.oldest.Sub(before.oldest) > 2*time.Second:
		return Yes
	case v.queued > before.queued && !(oldest && stuck >= crashWindow):
		return Unknown
	default:
		return No
	}
}

func (l *ledger) queue(key string) queueView {
	view := queueView{at: l.statsAt}
	t := l.snap.Index.Get(key)
	for _, s := range l.stats {
		if t == nil || !template.Covers(t.Labels, s.Labels) {
			continue
		}
		view.queued += s.Queued
		if since := l.statsAt.Add(-s.Oldest); s.Oldest > 0 && (view.oldest.IsZero() || since.Before(view.oldest)) {
			view.oldest = since
		}
	}
	return view
}

// blame counts the crash of a runner: against where it lived, if the backend has more
// than one place and can tell it, else against its template.
func (l *ledger) blame(r *Runner, lane *lane, reason string, now time.Time) {
	r.crash = true
	if l.blamer != nil && l.blamer.Crashed(r.ID, tokens.Redact(reason)) {
		return
	}
	l.crashed(r.Template, lane, r.Begun, reason, now)
}

// crashed counts a failure of the template and has it wait. A runner that was
// begun before the last one was known tells nothing new: a wave that fails as
// one counts as one; nor does one from before the template was edited. begun is zero for
// one that an earlier life began.
func (l *ledger) crashed(key string, lane *lane, begun time.Time, reason string, now time.Time) {
	if lane.Failures > 0 && begun.Before(lane.LastFailure) || begun.Before(lane.since) {
		return
	}
	reason = tokens.Redact(reason)
	wait := min(max(lane.next.NextBackOff(), time.Second), 5*time.Minute)
	lane.Failures++
	lane.LastFailure, lane.Until, lane.FailureReason = now, now.Add(wait), reason
	l.note("warn", "backing off", "template", key, "reason", reason, "failures", lane.Failures, "wait", wait.Round(time.Millisecond))
}

func (l *ledger) healthy(key string, lane *lane) {
	lane.cleanExits = 0
	if lane.Failures > 0 {
		l.note("info", "healthy again", "template", key, "failures", lane.Failures)
	}
	lane.Failures, lane.Until, lane.FailureReason = 0, time.Time{}, ""
	lane.next.Reset()
}

// asked takes in the answer to an ask that began then.
func (l *ledger) asked(began, now time.Time, facts []Fact, err error) {
	c := &l.snap.Facts
	c.Busy = false
	if errors.Is(err, errors.ErrUnsupported) {
		l.snap.Able.Facts = false
		l.judgeAll(now, func(*Runner) bool { return true })
		return
	}
	if err != nil {
		l.failed("facts", err)
		c.Next = now.Add(l.retryIn("facts"))
		l.judgeAll(now, func(r *Runner) bool { return now.Sub(r.Ended) > 3*l.snap.Limits.FactsInterval })
		return
	}
	l.succeeded("facts")
	c.Done, c.Next = now, time.Time{}
	l.takeFacts(facts, began, now)
	l.judgeAll(now, func(r *Runner) bool { return r.Ended.Before(began) })
}

// judgeAll weighs the ends of those of which all the facts are there, and tells them.
func (l *ledger) judgeAll(now time.Time, known func(*Runner) bool) {
	for _, r := range l.runners {
		if r.Phase != Launched || r.HoldsSlot() || r.concluded {
			continue
		}
		if !r.judged {
			r.asked = r.asked || known(r)
			if r.asked || !l.snap.Able.Facts {
				l.judge(r, now)
			}
			r.judged = r.judged || now.Sub(r.Ended) > l.judgePatience()
		}
		l.conclude(r)
	}
}

// judgePatience is how long an end waits for facts and for a look at the queue;
// without them it is no crash.
func (l *ledger) judgePatience() time.Duration {
	return 3*l.snap.Limits.FactsInterval + 2*l.snap.Limits.PollWait
}

// takeStats takes in how the queue looks, and weighs the ends that waited for it.
func (l *ledger) takeStats(stats []Stat, began, now time.Time) {
	if stats == nil {
		return
	}
	l.stats, l.statsBegan, l.statsAt = stats, began, now
	l.judgeAll(now, func(r *Runner) bool { return false })
}
