package fleet

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/internal/wire"
	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/tokens"
)

// failure is the back-off of one template on one host.
type failure struct {
	kind        string // what failed: a template that was edited begins anew
	count       int
	until       time.Time
	reason      string
	unavailable bool // the engine's, so it is over when the engine is there again
	// crashed: it started there and came to nothing. That another one starts is no
	// proof then: probe, the last one that did, has to come to something.
	crashed bool
	probe   *record
	last    time.Time
	next    *backoff.ExponentialBackOff
}

// waits says whether it still holds up what is asked for. Nil does not.
func (f *failure) waits(a *ask, now time.Time) bool {
	return f.of(a) && now.Before(f.until)
}

// of says whether it is of what is asked for. Nil is of nothing.
func (f *failure) of(a *ask) bool { return f != nil && f.kind == a.kind }

// Crashed is backend.Blamer's: the runner's host waits with its template, and the
// others go on. A runner that was launched before the last crash there was known tells
// nothing new.
func (f *Fleet) Crashed(id, reason string) bool {
	f.mu.Lock()
	defer f.unlock()
	r := f.runners[id]
	if r == nil {
		return false
	}
	a := f.asks[r.labels[provisioner.LabelTemplate]]
	if a == nil {
		return false // nobody has asked for such a runner since the hub started
	}
	failing := r.host.failures[failureKey(a)]
	if failing.of(a) && failing.crashed && r.asked.Before(failing.last) {
		return true
	}
	now := time.Now()
	f.fail(r.host, a, errors.New(reason), now)
	if failing = r.host.failures[failureKey(a)]; failing.of(a) {
		failing.crashed, failing.probe = true, nil
	}
	f.notify()
	return true
}

// Proved is backend.Blamer's: a runner that came to something ends the wait of its
// host.
func (f *Fleet) Proved(id string) {
	f.mu.Lock()
	defer f.unlock()
	r := f.runners[id]
	if r == nil {
		return
	}
	key := r.labels[provisioner.LabelTemplate]
	if failing := r.host.failures[key]; failing != nil && failing.crashed && !r.asked.Before(failing.last) {
		delete(r.host.failures, key)
		f.notify()
	}
}

// probing says whether one that has started since the last crash is still to come to
// something. Nil is not.
func (f *failure) probing(h *host) bool {
	return f != nil && f.crashed && f.probe != nil && h.runners[f.probe.id] == f.probe && f.probe.holds()
}

// pause is how long a host that had no room, by its own word, is left alone.
// That is no failure: it is not counted, not shown, and over when a runner ends.
type pause struct {
	until time.Time
	next  time.Duration
}

func (p *pause) end() time.Time {
	if p == nil {
		return time.Time{}
	}
	return p.until
}

// mostPause is the longest pause; a room that frees in another way than by a
// runner's end is found after that at the latest.
const mostPause = 30 * time.Second

// mostKinds bounds the back-offs that are remembered for a host.
const mostKinds = 1000

// failureKey is what a back-off belongs to on a host: the template, or, of a
// runner that has none, its kind.
func failureKey(a *ask) string {
	if a.template != "" {
		return a.template
	}
	return a.kind
}

// fail notes that a launch, or what it needs, failed there. Of a burst only the
// first counts. The lock is held.
func (f *Fleet) fail(h *host, a *ask, err error, now time.Time) {
	if errors.Is(err, backend.ErrExhausted) {
		f.exhaust(h, a, now)
		return
	}
	key := failureKey(a)
	failing := h.failures[key]
	if failing == nil || failing.kind != a.kind {
		if len(h.failures) >= mostKinds {
			clear(h.failures)
		}
		failing = &failure{kind: a.kind, next: backoff.NewExponentialBackOff(
			backoff.WithInitialInterval(f.config.RetryMin), backoff.WithMaxInterval(f.config.RetryMax), backoff.WithMultiplier(2),
			backoff.WithRandomizationFactor(0.2), backoff.WithMaxElapsedTime(0),
		)}
		h.failures[key] = failing
	}
	if now.Before(failing.until) {
		return
	}
	failing.count++
	failing.last, failing.crashed, failing.probe = now, false, nil
	failing.reason, failing.unavailable = tokens.Redact(err.Error()), errors.Is(err, backend.ErrUnavailable)
	failing.until = now.Add(failing.next.NextBackOff())
	f.say(hclog.Warn, "host backs off", "host", h.name(), "template", a.template, "reason", failing.reason, "failures", failing.count)
}

// exhaust leaves a host without room alone for a while.
func (f *Fleet) exhaust(h *host, a *ask, now time.Time) {
	key := failureKey(a)
	p := h.exhausted[key]
	if p == nil {
		if len(h.exhausted) >= mostKinds {
			clear(h.exhausted)
		}
		p = &pause{next: f.config.RetryMin}
		h.exhausted[key] = p
	}
	if !now.Before(p.until) {
		p.until = now.Add(p.next)
		p.next = min(2*p.next, max(mostPause, f.config.RetryMin))
	}
}

// kindOf is what runners of one template have in common: all of the spec but
// what is one runner's own. Specs without an id, as Capacity's, have one too.
func kindOf(spec *wire.Spec) string {
	kind := *spec
	kind.ID, kind.Labels, kind.Env, kind.Credential, kind.GPUIDs = "", nil, nil, nil, nil
	kind.Command = nil             // a registration may set it
	text, _ := json.Marshal(&kind) // FromSpec has done it before
	return string(text)
}
