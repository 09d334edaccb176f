package fleet

import (
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/hub/fleet/placement"
	"github.com/slipway-ci/slipway/tokens"
)

// fail notes that a launch, or what it needs, failed there. The lock is held.
func (f *Fleet) fail(h *host, a *placement.Ask, err error, now time.Time) {
	before := h.place.Pause(a, now)
	counted := f.placer.Failed(h.place, a, err, now)
	f.failed(h, a, err.Error(), counted)
	f.wakeAfter(before, h.place.Pause(a, now))
	if counted == 1 {
		f.events.Put(SessionEvent{Kind: BackedOff, Host: h.ID, Epoch: h.epoch, Template: a.Template, Reason: plain(err).Error()})
	}
}

// failed tells of a failure that counts.
func (f *Fleet) failed(h *host, a *placement.Ask, reason string, counted int) {
	if counted > 0 {
		f.say(hclog.Warn, "host backs off", "host", h.name(), "template", a.Template, "reason", tokens.Redact(reason), "failures", counted)
	}
}

// wakeAfter wakes those who Watch when a pause is over that was shorter before: there is
// room then, which no news tells of.
func (f *Fleet) wakeAfter(before, pause time.Duration) {
	if pause <= before {
		return
	}
	time.AfterFunc(pause, func() {
		f.mu.Lock()
		defer f.unlock()
		f.notify()
	})
}

// Crashed is backend.Blamer's: the runner's host waits with its template, and the
// others go on. The runner may be gone, but not for long.
func (f *Fleet) Crashed(id, reason string) bool {
	f.mu.Lock()
	defer f.unlock()
	t, ok := f.trace(id)
	if !ok {
		return false
	}
	a := f.placer.Asked(t.template)
	if a == nil {
		return false // nobody has asked for such a runner since the hub started
	}
	if f.hosts[t.host.ID] != t.host {
		return true // it gets nothing any more
	}
	now := time.Now()
	before := t.host.place.Pause(a, now)
	f.failed(t.host, a, reason, f.placer.Crashed(t.host.place, a, reason, t.asked, now))
	f.wakeAfter(before, t.host.place.Pause(a, now))
	f.notify()
	return true
}

// Proved is backend.Blamer's: a runner that came to something ends the wait of its
// host.
func (f *Fleet) Proved(id string) {
	f.mu.Lock()
	defer f.unlock()
	if t, ok := f.trace(id); ok && t.host.place.Proved(t.template, t.asked) {
		f.notify()
	}
}
