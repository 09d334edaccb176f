package provisioner

import (
	"errors"
	"maps"
	"time"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/tokens"
)

// Each function here takes in the answer to one kind of deed.

// prepared takes in what came of a prepare for a lane. What was fetched for a template
// that was edited since is not what it needs now.
func (l *ledger) prepared(key string, asked *lane, now time.Time, err error) {
	lane := l.lanes[key]
	lane.Preparing = false
	switch {
	case lane != asked:
	case errors.Is(err, errors.ErrUnsupported):
		l.snap.Able.Prepare = false
	case err != nil:
		l.metrics.Launched(key, "prepare", 0)
		l.crashed(key, lane, now, "prepare: "+err.Error(), now)
	default:
		lane.Prepared = now
	}
}

// minted takes in registrations; of the runners without one there will be none.
func (l *ledger) minted(a Action, runners []*Runner, registrations []Registration, now time.Time, err error) {
	if err != nil {
		l.mintFailed(a, runners, now, err)
		return
	}
	l.succeeded("mint")
	byRunner := make(map[string]Registration, len(registrations))
	for _, reg := range registrations {
		byRunner[reg.Runner] = reg
	}
	refused := 0
	for _, r := range runners {
		reg, ok := byRunner[r.ID]
		if !ok {
			refused++
			l.forget(r.ID)
			continue
		}
		r.Phase, r.Since, r.registration = Minted, now, &reg
		if reg.Lifetime > 0 {
			r.Expires = now.Add(reg.Lifetime)
		}
		labels := maps.Clone(reg.Labels)
		if labels == nil {
			labels = map[string]string{}
		}
		maps.Copy(labels, r.Labels) // a restart counts by ours
		r.Labels = labels
	}
	if refused > 0 {
		l.note("info", "registrations refused", "template", a.Template, "reservation", a.Reservation, "count", refused)
	}
	if refused > 0 && a.Reservation == "" {
		l.lanes[a.Template].LevelRetry = now.Add(l.retryIn("mint " + a.Template))
	}
}

// mintFailed gives the units back to their grant, to be tried again with new
// ids: what was minted all the same expires unused.
func (l *ledger) mintFailed(a Action, runners []*Runner, now time.Time, err error) {
	for _, r := range runners {
		l.forget(r.ID)
	}
	if a.Reservation == "" && errors.Is(err, errors.ErrUnsupported) {
		if l.snap.Able.Warm {
			l.note("warn", "the control plane has no warm runners: min_idle and target_concurrency are ignored")
		}
		l.snap.Able.Warm = false
		if _, told := l.snap.Targets[a.Template]; !told {
			return
		}
	}
	l.failed("mint", err)
	l.metrics.Launched(a.Template, "mint", 0)
	l.lanes[a.Template].MintRetry = now.Add(l.retryIn("mint"))
	if a.Reservation == "" || errors.Is(err, ErrRejected) {
		return
	}
	for i := range l.snap.Grants {
		if g := &l.snap.Grants[i]; g.Reservation == a.Reservation {
			g.Left += len(runners)
			return
		}
	}
	if t, ok := l.granted[a.Reservation]; ok {
		t.Left = len(runners)
		l.snap.Grants = append(l.snap.Grants, t.HeldGrant)
	}
}

func (l *ledger) announced(r *Runner, now time.Time, err error) {
	lane := l.lanes[r.Template]
	switch {
	case err == nil:
		l.succeeded("announce")
		lane.refusals = 0
		l.retryDone("refused " + r.Template)
		r.Phase, r.Since = Announced, now
	case errors.Is(err, ErrRefused):
		l.succeeded("announce")
		l.note("info", "refused by the control plane", "runner", r.ID, "template", r.Template, "err", err)
		l.drop(r, "", now)
		if lane.refusals++; lane.refusals > fewRefusals {
			lane.MintRetry = now.Add(l.retryIn("refused " + r.Template))
		}
	default: // what it was for is granted again, to fail again
		l.failed("announce", err)
		l.drop(r, "announce: "+err.Error(), now)
		lane.MintRetry = now.Add(l.retryIn("announce"))
	}
}

// drop ends a runner that the backend was not asked for, or refused. It is
// told to the control plane if a reason is given.
func (l *ledger) drop(r *Runner, reason string, now time.Time) {
	r.Phase, r.Since, r.Ended, r.Removed = Dropped, now, now, now
	r.registration = nil
	r.judged = true
	if reason != "" {
		l.tell(r, EventFailed, reason, now)
	}
	l.conclude(r)
}

func (l *ledger) launched(r *Runner, asked, now time.Time, err error) {
	lane := l.lanes[r.Template]
	r.registration = nil // spent, whatever came of it
	switch {
	case err == nil, errors.Is(err, backend.ErrExists):
		r.Phase, r.Since = Launched, now
		lane.LaunchTook = now.Sub(asked)
		l.metrics.Launched(r.Template, "", now.Sub(r.Begun))
		l.tell(r, EventStarting, "", now)
	case backend.IsDefinite(err):
		reason := launchReason(err)
		l.metrics.Launched(r.Template, reason, now.Sub(r.Begun))
		// A backend of many places waits by itself where one is out of reach, or of room.
		waits := l.blamer != nil && (errors.Is(err, backend.ErrUnavailable) || errors.Is(err, backend.ErrExhausted))
		if waits {
			r.concluded = true // nothing has ended: it was not begun
			lane.Room = 0      // what was told is not so: it is asked for again
			if r.Reservation == "" {
				lane.LevelRetry = now.Add(levelPause)
			}
		} else {
			r.crash = true
			l.crashed(r.Template, lane, r.Begun, reason+": "+err.Error(), now)
		}
		l.drop(r, reason+": "+err.Error(), now)
	default:
		r.Phase, r.Since = Uncertain, now
		l.metrics.Launched(r.Template, "uncertain", now.Sub(r.Begun))
		l.note("warn", "launch is uncertain", "runner", r.ID, "template", r.Template, "err", err)
	}
	l.snap.Woken = true // look soon: what it became is to be seen
}

func launchReason(err error) string {
	switch {
	case errors.Is(err, backend.ErrInvalid):
		return ReasonInvalid
	case errors.Is(err, backend.ErrExhausted):
		return ReasonExhausted
	case errors.Is(err, backend.ErrUnavailable):
		return ReasonUnavailable
	default:
		return ReasonRefused
	}
}

func (l *ledger) retired(runners []*Runner, ids []string, reason string, now time.Time, err error) {
	done := make(map[string]bool, len(ids))
	for _, id := range ids {
		done[id] = true
	}
	if errors.Is(err, errors.ErrUnsupported) {
		l.snap.Able.Retire = false
	} else if err != nil {
		l.failed("retire", err)
	} else {
		l.succeeded("retire")
	}
	for _, r := range runners {
		r.Busy = false
		if done[r.ID] {
			r.Retired, r.Removing, r.Retry = true, reason, time.Time{}
			l.retryDone(r.ID)
			if lane := l.lanes[r.Template]; lane != nil && reason != ReasonIdle && r.Unneeded == "" && !r.halfMade() {
				r.judged = true
				l.blame(r, lane, reason+": it never registered", now)
			}
			continue
		}
		r.Retry = now.Add(l.retryIn(r.ID))
	}
}

func (l *ledger) removed(r *Runner, reason string, now time.Time, err error) {
	r.Busy = false
	if err != nil {
		l.note("warn", "remove", "runner", r.ID, "template", r.Template, "err", err)
		l.problems["remove"] = tokens.Redact(err.Error())
		r.Retry = now.Add(l.retryIn(r.ID))
		return
	}
	delete(l.problems, "remove")
	l.retryDone(r.ID)
	r.Removed, r.Retry = now, time.Time{}
	if r.Phase == Uncertain || r.Phase == GivenUp {
		if r.Phase == Uncertain {
			lane := l.lanes[r.Template]
			l.crashed(r.Template, lane, r.Begun, reason+": the launch stayed uncertain", now)
			l.tell(r, EventFailed, reason, now)
			r.crash, r.judged = true, true
		}
		r.Phase = GivenUp
	}
	if r.Ended.IsZero() {
		r.Ended = now
		l.endedIdle(r)
		l.tell(r, EventTerminated, reason, now)
	}
	if r.Phase == GivenUp {
		l.conclude(r)
	}
}

func (l *ledger) reported(now time.Time, err error) {
	c := &l.snap.Report
	c.Busy = false
	rejected := errors.Is(err, ErrRejected)
	settled := l.outbox.settle(err == nil, rejected)
	l.settled(settled)
	switch {
	case err == nil:
		l.succeeded("report")
		delete(l.problems, "outbox")
		c.Done, c.Next = now, time.Time{}
	case rejected:
		for _, e := range settled {
			l.note("warn", "event rejected", "runner", e.Runner, "state", e.State, "err", err)
		}
	default:
		l.failed("report", err)
		c.Next = now.Add(l.retryIn("report"))
	}
}
