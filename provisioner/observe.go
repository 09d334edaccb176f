package provisioner

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/tokens"
)

// listed takes in a look at the backend.
func (l *ledger) listed(began, now time.Time, listing backend.Listing, err error) {
	c := &l.snap.List
	c.Busy = false
	if err != nil {
		l.snap.Observed = false
		l.failed("list", err)
		c.Next = now.Add(l.retryIn("list"))
		return
	}
	l.succeeded("list")
	c.Done, c.Next = now, time.Time{}
	if listing.Began.After(began) && !listing.Began.After(now) {
		began = listing.Began
	}
	first := l.snap.Began.IsZero()
	l.snap.Began, l.snap.Observed = began, true

	shown := make(map[string]bool, len(listing.Runners))
	for i := range listing.Runners {
		seen := &listing.Runners[i]
		shown[seen.ID] = true
		r := l.runners[seen.ID]
		if r == nil {
			r = l.adopt(seen, first, now)
		}
		l.see(r, seen, began, now)
	}
	for id, r := range l.runners {
		if !shown[id] {
			l.miss(r, began, now)
		}
	}
	l.judgeAll(now, func(*Runner) bool { return false })
}

// sized takes in how much room there is for each template of keys. Without an
// answer there is none.
func (l *ledger) sized(began, now time.Time, keys []string, room []int, err error) {
	c := &l.snap.Size
	c.Busy = false
	if errors.Is(err, errors.ErrUnsupported) {
		l.snap.Able.Capacity = false
		return
	}
	l.snap.RoomBegan = began
	for _, lane := range l.lanes {
		lane.Room = 0
	}
	if err != nil {
		l.failed("capacity", err)
		c.Next = now.Add(l.retryIn("capacity"))
		c.Began = time.Time{} // asked again without waiting for a list
		return
	}
	l.succeeded("capacity")
	c.Done, c.Next = now, time.Time{}
	for i, key := range keys {
		if lane := l.lanes[key]; lane != nil && i < len(room) {
			lane.Room = max(room[i], 0)
		}
	}
}

// adopt makes a runner of one that this loop did not launch. One that lives and
// was made after this loop's start is another loop's work under our owner's id.
func (l *ledger) adopt(seen *backend.Runner, first bool, now time.Time) *Runner {
	r := &Runner{
		ID: seen.ID, Template: seen.Labels[LabelTemplate], Reservation: seen.Labels[LabelReservation], Labels: seen.Labels,
		Phase: Launched, Since: now, Born: now,
		RegistrationDeadline: durationLabel(seen.Labels[LabelRegistrationDeadline], l.snap.Limits.RegistrationDeadline),
		MaxLifetime:          durationLabel(seen.Labels[LabelMaxLifetime], l.snap.Limits.MaxLifetime),
	}
	made, known := madeAt(seen.ID)
	if known && made.Before(now) {
		r.Born = made
	}
	if l.sole && !first {
		r.judged = true
	}
	r.concluded = first && seen.State.Ended()
	if known && made.After(l.started) && !first && !l.sole && seen.State.HoldsSlot() {
		if now.Sub(l.rivals.last) >= conflictPatience {
			l.rivals.first = now
		}
		l.rivals.last = now
		l.note("warn", "another provisioner launches runners of our owner", "runner", r.ID, "template", r.Template)
	} else {
		l.note("info", "adopted", "runner", r.ID, "template", r.Template, "state", seen.State)
	}
	l.add(r)
	return r
}

func durationLabel(text string, otherwise time.Duration) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return otherwise
	}
	return d
}

// see takes in how a list shows a runner.
func (l *ledger) see(r *Runner, seen *backend.Runner, began, now time.Time) {
	if r.Seen == nil || r.Seen.State != seen.State {
		r.StateSince = now
	}
	if !r.Removed.IsZero() && !r.Removed.Before(began) {
		return // an old sight: it was removed since
	}
	r.Seen, r.host = seen, cmp.Or(seen.Host, r.host)
	if !r.Removed.IsZero() { // gone, and here again: a late launch
		r.Removed = time.Time{}
	}
	switch {
	case r.Phase == Uncertain:
		r.Phase, r.Since = Launched, now
		l.tell(r, EventStarting, "", now)
	case r.Phase == Dropped:
		r.Phase = GivenUp // refused for good, they said; it must go
	}
	if seen.State.Ended() {
		l.sawEnd(r, seen, now)
		return
	}
	if seen.State == backend.Unknown && r.end != nil {
		return // what has ended stays so, though its host can't be observed now
	}
	r.Ended, r.end, r.lived = time.Time{}, nil, r.lived || seen.State != backend.Unknown
	if r.Phase == Launched {
		l.tell(r, eventOf(seen.State), "", now)
	}
}

func eventOf(state backend.State) EventState {
	switch state {
	case backend.Starting:
		return EventStarting
	case backend.Stopping:
		return EventStopping
	case backend.Exited:
		return EventStopped
	case backend.Failed:
		return EventFailed
	default: // of an unknown one, nothing new is told: running is told of launched ones alone
		return EventRunning
	}
}

// sawEnd takes in that the runner's process has ended.
func (l *ledger) sawEnd(r *Runner, seen *backend.Runner, now time.Time) {
	if r.Phase == Launching {
		return // the answer to the launch is still to come; the slot is its
	}
	if r.Ended.IsZero() {
		r.Ended = now
		l.endedIdle(r)
	}
	r.end, r.judged = seen, r.judged || r.old()
	if r.Removing != "" {
		l.tell(r, EventTerminated, r.Removing, now)
		return
	}
	l.tell(r, eventOf(seen.State), endReason(seen), now)
	if !l.snap.Able.Facts {
		l.judge(r, now)
	}
}

// endReason begins with a word for metrics and goes on for people.
func endReason(seen *backend.Runner) string {
	var parts []string
	switch {
	case seen.OOMKilled:
		parts = append(parts, ReasonOutOfMemory)
	case seen.State == backend.Exited:
		return ReasonExitCode + ": 0"
	case seen.ExitCode != nil:
		parts = append(parts, ReasonExitCode)
	default:
		parts = append(parts, ReasonFailed)
	}
	if seen.ExitCode != nil {
		parts = append(parts, fmt.Sprintf(" %d", *seen.ExitCode))
	}
	if seen.Error != "" {
		parts = append(parts, " "+seen.Error)
	}
	return parts[0] + ":" + strings.Join(parts[1:], ",")
}

// miss takes in that a list does not show a runner.
func (l *ledger) miss(r *Runner, began, now time.Time) {
	switch {
	case r.Phase.inFlight():
		r.Seen = nil
		return
	case r.HoldsSlot() && r.Since.Before(began):
		r.Seen = nil
		r.Ended, r.Removed = now, now
		l.endedIdle(r)
		l.tell(r, EventTerminated, cmp.Or(r.Removing, ReasonDisappeared), now)
		r.judged = r.judged || r.Removing != ""
		l.note("warn", "disappeared", "runner", r.ID, "template", r.Template)
	case !r.Ended.IsZero():
		r.Seen = nil
		if r.Removed.IsZero() {
			r.Removed = now
		}
	}
	if l.forgettable(r, began) {
		r.judged = true
		l.conclude(r)
		l.forget(r.ID)
	}
}

// forgettable says whether nothing hangs on r any more: it is gone for good,
// all that was to be told was accepted, its end was weighed, and no level that
// was read before its end is still in force.
func (l *ledger) forgettable(r *Runner, began time.Time) bool {
	if r.Removed.IsZero() || !r.Removed.Before(began) || r.Busy || r.Untold > 0 {
		return false
	}
	if r.Phase == GivenUp {
		return began.Sub(r.Removed) > l.snap.Limits.MaxLifetime || len(l.runners) > rememberGivenUp
	}
	if r.Phase == Launched && !r.judged && began.Sub(r.Ended) < l.judgePatience() {
		return false
	}
	target, told := l.snap.Targets[r.Template]
	return !told || !countsTowards(r, target)
}

// endedIdle forgets what only a live runner has.
func (l *ledger) endedIdle(r *Runner) { r.IdleSince = time.Time{} }

// failed notes an error of a kind of call; a repeat is not logged again.
func (l *ledger) failed(call string, err error) {
	text := tokens.Redact(err.Error())
	if l.problems[call] != text {
		l.note("warn", call, "err", text)
	}
	l.problems[call] = text
	l.repeats[call]++
	if errors.Is(err, ErrUnauthorized) {
		l.problems["unauthorized"] = text
	}
}

func (l *ledger) succeeded(call string) {
	if l.problems[call] != "" {
		l.note("info", call+" works again", "failures", l.repeats[call])
	}
	delete(l.problems, call)
	delete(l.repeats, call)
	l.retryDone(call)
	if call == "poll" {
		delete(l.problems, "unauthorized")
	}
}
