package fleet

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/internal/wire"
	"github.com/slipway-ci/slipway/tokens"
)

// failure is the back-off of one kind of runner on one host.
type failure struct {
	count       int
	until       time.Time
	reason      string
	unavailable bool // the engine's, so it is over when the engine is there again
	next        *backoff.ExponentialBackOff
}

// mostKinds bounds the back-offs that are remembered for a host.
const mostKinds = 1000

// fail notes that a launch, or what it needs, failed there. Of a burst only the
// first counts. The lock is held.
func (f *Fleet) fail(h *host, kind string, err error, now time.Time) {
	failing := h.failures[kind]
	if failing == nil {
		if len(h.failures) >= mostKinds {
			clear(h.failures)
		}
		failing = &failure{next: backoff.NewExponentialBackOff(
			backoff.WithInitialInterval(f.config.RetryMin), backoff.WithMaxInterval(f.config.RetryMax), backoff.WithMultiplier(2),
			backoff.WithRandomizationFactor(0.2), backoff.WithMaxElapsedTime(0),
		)}
		h.failures[kind] = failing
	}
	if now.Before(failing.until) {
		return
	}
	failing.count++
	failing.reason, failing.unavailable = tokens.Redact(err.Error()), errors.Is(err, backend.ErrUnavailable)
	failing.until = now.Add(failing.next.NextBackOff())
	f.say(hclog.Warn, "host backs off", "host", h.name(), "reason", failing.reason, "failures", failing.count)
}

// kindOf is what runners of one template have in common: all of the spec but
// what is one runner's own. Specs without an id, as Capacity's, have one too.
func kindOf(spec *wire.Spec) string {
	kind := *spec
	kind.ID, kind.Labels, kind.Env = "", nil, nil
	text, _ := json.Marshal(&kind) // FromSpec has done it before
	return string(text)
}
