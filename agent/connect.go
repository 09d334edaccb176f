package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/slipway-ci/slipway/internal/wire"
	"github.com/slipway-ci/slipway/tokens"
)

// connect makes one session after the other. One that lasted makes the next
// pause short again; one that was turned away makes it long.
func (a *Agent) connect(ctx context.Context) {
	pause := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(a.config.RetryMin), backoff.WithMaxInterval(a.config.RetryMax), backoff.WithMultiplier(2),
		backoff.WithRandomizationFactor(0.5), backoff.WithMaxElapsedTime(0),
	)
	problem, hurried := "", 0
	for ctx.Err() == nil {
		a.welcomed = time.Time{}
		token := a.config.Token()
		err := a.sessionWith(ctx, token)
		if ctx.Err() != nil {
			return
		}
		if text := tokens.Redact(err.Error()); text != problem { // a repeat says nothing new
			problem = text
			a.log.Warn("no session with the hub", "err", text)
		}
		if !a.welcomed.IsZero() && time.Since(a.welcomed) > 20*a.config.RetryMin {
			pause.Reset()
			problem, hurried = "", 0
		}
		if hurried < mostHurried && a.anotherWay(err, token) {
			hurried++
			continue
		}
		wait := pause.NextBackOff()
		if turnedAway(err) {
			wait = max(wait, a.config.RetryMax/2)
		}
		hurried = 0
		if !sleep(ctx, wait) {
			return
		}
	}
}

// mostHurried is how often in a row another try follows at once, or a hub could
// have us spin: with the new token, and with the old one if that is refused.
const mostHurried = 2

// sessionWith is a session with that token, of which those are told who keep it.
func (a *Agent) sessionWith(ctx context.Context, token tokens.Token) error {
	if token.Kind() != tokens.Agent {
		return fmt.Errorf("%w: what Token gives is %s: an agent's token is needed", ErrConfig, token)
	}
	err := a.session(ctx, token)
	switch {
	case errors.Is(err, ErrUnauthorized) && a.config.Refused != nil:
		a.config.Refused(token)
	case errors.Is(err, wire.ErrRemoved):
		a.wasRemoved(ctx)
	}
	return err
}

// wasRemoved tells once that the hub has removed this host.
func (a *Agent) wasRemoved(ctx context.Context) {
	if a.removed {
		return
	}
	a.removed = true
	a.log.Warn("the hub has removed this host for good: no session comes of this token any more")
	if a.config.Removed != nil {
		a.deeds.Go(func() { a.config.Removed(ctx) })
	}
}

// anotherWay says that another try at once may do better: the hub asked for it, or
// there is another token than the one that it refused.
func (a *Agent) anotherWay(err error, token tokens.Token) bool {
	return errors.Is(err, wire.ErrRotated) || errors.Is(err, ErrUnauthorized) && !a.config.Token().Equal(token)
}

// turnedAway says that coming back at once would do no good.
func turnedAway(err error) bool {
	for _, why := range []error{ErrUnauthorized, ErrNoHub, wire.ErrSuperseded, wire.ErrDuplicated, wire.ErrRemoved, wire.ErrViolation} {
		if errors.Is(err, why) {
			return true
		}
	}
	return false
}
