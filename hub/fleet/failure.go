package fleet

import (
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/hub/fleet/placement"
	"github.com/slipway-ci/slipway/tokens"
)

// fail notes that a launch, or what it needs, failed there. The lock is held.
func (f *Fleet) fail(h *host, a *placement.Ask, err error, now time.Time) {
	counted := f.placer.Failed(h.place, a, err, now)
	f.failed(h, a, err.Error(), counted)
	if counted == 1 {
		f.emit(SessionEvent{Kind: BackedOff, Host: h.ID, Epoch: h.epoch, Template: a.Template, Reason: plain(err).Error()})
	}
}

// failed tells of a failure that counts.
func (f *Fleet) failed(h *host, a *placement.Ask, reason string, counted int) {
	if counted > 0 {
		f.say(hclog.Warn, "host backs off", "host", h.name(), "template", a.Template, "reason", tokens.Redact(reason), "failures", counted)
	}
}

// Crashed is backend.Blamer's: the runner's host waits with its template, and the
// others go on.
func (f *Fleet) Crashed(id, reason string) bool {
	f.mu.Lock()
	defer f.unlock()
	r := f.runners[id]
	if r == nil {
		return false
	}
	a := f.placer.Asked(r.template)
	if a == nil {
		return false // nobody has asked for such a runner since the hub started
	}
	f.failed(r.host, a, reason, f.placer.Crashed(r.host.place, a, reason, r.asked, time.Now()))
	f.notify()
	return true
}

// Proved is backend.Blamer's: a runner that came to something ends the wait of its
// host.
func (f *Fleet) Proved(id string) {
	f.mu.Lock()
	defer f.unlock()
	if r := f.runners[id]; r != nil && r.host.place.Proved(r.template, r.asked) {
		f.notify()
	}
}
