package placement

import (
	"errors"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/tokens"
)

// failure is the back-off of one template on one host, and is remembered when its
// pause is over: until a launch has succeeded there, or something else was asked for.
type failure struct {
	kind     string // what failed: a template that was edited begins anew
	isolated bool
	count    int
	until    time.Time
	reason   string
	// unavailable: it is over when the engine is there again. refused: by the host's own
	// policy, which may be another when its agent is back.
	unavailable, refused bool
	past                 bool // of an earlier session
	// crashed: it started there and came to nothing. That another one starts is no
	// proof then: probe, the last one that did, has to come to something.
	crashed bool
	probe   string // its id
	last    time.Time
	next    *backoff.ExponentialBackOff
}

// of says whether it is of what is asked for. Nil is of nothing.
func (f *failure) of(a *Ask) bool { return f != nil && f.kind == a.Kind && f.isolated == a.isolated() }

// pause is how long a host that had no room, by its own word, is left alone.
// That is no failure: it is not counted, not shown, and over when a runner ends.
type pause struct {
	until time.Time
	next  time.Duration
}

// mostPause is the longest pause; a room that frees in another way than by a
// runner's end is found after that at the latest.
const mostPause = 30 * time.Second

// waits says whether what came of earlier launches holds up a host that has room.
func (h *Host) waits(a *Ask, room int, now time.Time) (int, Obstacle) {
	if p := h.exhausted[a.key()]; p != nil {
		if now.Before(p.until) || h.Load.Unanswered > 0 {
			return 0, Exhausted
		}
		room = 1 // one at a time, to see whether it is over
	}
	failing := h.failures[a.key()]
	switch {
	case !failing.of(a):
		return room, ""
	case now.Before(failing.until), h.Load.Unanswered > 0, failing.probe != "":
		return 0, BackingOff
	}
	return 1, "" // as there
}

// Pause is how long the host is left alone with what is asked for, from now on, by what
// failed there or its own word; 0: it is not.
func (h *Host) Pause(a *Ask, now time.Time) (pause time.Duration) {
	if p := h.exhausted[a.key()]; p != nil {
		pause = p.until.Sub(now)
	}
	if failing := h.failures[a.key()]; failing.of(a) {
		pause = max(pause, failing.until.Sub(now))
	}
	return max(pause, 0)
}

// again is when the pause is over that is the obstacle; zero: it is none, or it ends with
// a launch under way.
func (h *Host) again(a *Ask, o Obstacle, now time.Time) (at time.Time) {
	switch o {
	case Exhausted:
		at = h.exhausted[a.key()].until
	case BackingOff:
		at = h.failures[a.key()].until
	}
	if !at.After(now) {
		return time.Time{}
	}
	return at
}

// Failed notes that a launch, or what it needs, failed there. Of a burst only the
// first counts: counted is how many have, 0 where this one does not. That there was
// no room (backend.ErrExhausted) is no failure.
func (p *Placer) Failed(h *Host, a *Ask, err error, now time.Time) (counted int) {
	if errors.Is(err, backend.ErrExhausted) {
		p.exhaust(h, a, now)
		return 0
	}
	failing := h.failures[a.key()]
	if !failing.of(a) {
		if len(h.failures) >= mostKinds {
			clear(h.failures)
		}
		failing = &failure{kind: a.Kind, isolated: a.isolated(), next: backoff.NewExponentialBackOff(
			backoff.WithInitialInterval(p.RetryMin), backoff.WithMaxInterval(p.RetryMax), backoff.WithMultiplier(2),
			backoff.WithRandomizationFactor(0.2), backoff.WithMaxElapsedTime(0),
		)}
		h.failures[a.key()] = failing
	}
	if now.Before(failing.until) {
		return 0
	}
	failing.count++
	failing.last, failing.past, failing.crashed, failing.probe = now, false, false, ""
	failing.reason = tokens.Redact(err.Error())
	failing.unavailable, failing.refused = errors.Is(err, backend.ErrUnavailable), errors.Is(err, backend.ErrRefused)
	failing.until = now.Add(failing.next.NextBackOff())
	return failing.count
}

// exhaust leaves a host without room alone for a while.
func (p *Placer) exhaust(h *Host, a *Ask, now time.Time) {
	left := h.exhausted[a.key()]
	if left == nil {
		if len(h.exhausted) >= mostKinds {
			clear(h.exhausted)
		}
		left = &pause{next: p.RetryMin}
		h.exhausted[a.key()] = left
	}
	if !now.Before(left.until) {
		left.until = now.Add(left.next)
		left.next = min(2*left.next, max(mostPause, p.RetryMin))
	}
}

// Launched notes that a runner was launched there: what failed before is over. After a
// crash only one that comes to something is proof, see Proved.
func (h *Host) Launched(a *Ask, runner string) {
	switch failing := h.failures[a.key()]; {
	case !failing.of(a):
	case failing.crashed:
		failing.probe = runner
	default:
		delete(h.failures, a.key())
	}
	delete(h.exhausted, a.key())
	h.Fetched(a, true)
}

// Crashed notes that a runner came to nothing there. One that was launched before the
// last crash was known tells nothing new. counted is Failed's.
func (p *Placer) Crashed(h *Host, a *Ask, reason string, launched, now time.Time) (counted int) {
	failing := h.failures[a.key()]
	if failing.of(a) && failing.crashed && launched.Before(failing.last) {
		return 0
	}
	counted = p.Failed(h, a, errors.New(reason), now)
	failing = h.failures[a.key()]
	failing.crashed, failing.probe = true, ""
	return counted
}

// Proved notes that a runner of the template came to something there; over says that
// this has ended a back-off.
func (h *Host) Proved(template string, launched time.Time) (over bool) {
	failing := h.failures[template]
	if failing == nil || !failing.crashed || launched.Before(failing.last) {
		return false
	}
	delete(h.failures, template)
	return true
}

// Settle lets no probe be waited for that takes up no room any more.
func (h *Host) Settle(holds func(runner string) bool) {
	for _, failing := range h.failures {
		if failing.probe != "" && !holds(failing.probe) {
			failing.probe = ""
		}
	}
}

// Reasons are why kinds of runners wait there now.
func (h *Host) Reasons(now time.Time) (reasons []string) {
	for _, failing := range h.failures {
		if now.Before(failing.until) {
			reasons = append(reasons, failing.reason)
		}
	}
	slices.Sort(reasons)
	return reasons
}

// last is the last failure of what is asked for, and when it was; zero: there was
// none, or nobody knows whether it would still be so.
func (h *Host) last(a *Ask, now time.Time) (reason string, at time.Time) {
	failing := h.failures[a.key()]
	if !failing.of(a) || failing.past && !now.Before(failing.until) {
		return "", time.Time{}
	}
	return failing.reason, failing.last
}
