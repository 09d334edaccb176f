package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/slipway-ci/slipway/internal/wire"
	"github.com/slipway-ci/slipway/tokens"
)

// facts are the host's as they were looked at last.
type facts struct {
	mu  sync.Mutex
	now Facts
}

// lookBeforeHello is how long a connection waits for the newest facts.
const lookBeforeHello = 5 * time.Second

// hostNow is the facts for a hello.
func (a *Agent) hostNow(ctx context.Context) wire.HostFacts {
	if a.config.Look != nil {
		a.refresh(ctx, min(lookBeforeHello, a.config.LookTimeout))
	}
	a.facts.mu.Lock()
	defer a.facts.mu.Unlock()
	return a.facts.now.wire()
}

// refresh looks at the host. Where that fails it stays as it was.
func (a *Agent) refresh(ctx context.Context, limit time.Duration) {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	now, err := a.config.Look(limited)
	if err != nil {
		if ctx.Err() == nil {
			a.log.Debug("look at the host", "err", tokens.Redact(err.Error()))
		}
		return
	}
	a.facts.mu.Lock()
	defer a.facts.mu.Unlock()
	a.facts.now = now.or(a.config.Facts)
}

// lookAtHost looks now and then, and has the hub told what is different.
func (a *Agent) lookAtHost(ctx context.Context) {
	for sleep(ctx, a.config.FactsInterval) {
		a.refresh(ctx, a.config.LookTimeout)
		a.facts.mu.Lock()
		now := a.facts.now.wire()
		a.facts.mu.Unlock()
		a.mirror.tellHost(now)
	}
}

// rotate makes a new token.
func (a *Agent) rotate(ctx context.Context, s *session, f wire.Frame) (answer func()) {
	told := wire.Frame{Type: wire.Answer, ID: f.ID}
	if a.config.Rotate == nil {
		told.Error = wire.FromError(cannot("rotate its token"))
	} else if digest, err := a.config.Rotate(ctx); err != nil {
		told.Error = wire.FromError(fmt.Errorf("rotate the token: %w", err))
	} else {
		a.log.Info("made a new token")
		told.Digest = digest.String()
	}
	return func() { s.send(told) }
}

// update has another version of this program put in place.
func (a *Agent) update(ctx context.Context, s *session, f wire.Frame) (answer func()) {
	err := cannot("update itself")
	if a.config.Update != nil {
		a.log.Info("update", "version", f.Version)
		err = a.config.Update(ctx, f.Version)
	}
	if err != nil {
		err = fmt.Errorf("update to %s: %w", f.Version, err)
		a.log.Warn("update", "err", tokens.Redact(err.Error()))
	}
	return func() { s.answer(f.ID, err) }
}

// stats tells how busy the host is.
func (a *Agent) stats(ctx context.Context, s *session, f wire.Frame) (answer func()) {
	told := wire.Frame{Type: wire.Answer, ID: f.ID}
	if a.config.Stats == nil {
		told.Error = wire.FromError(cannot("tell how busy its host is"))
	} else if stats, err := a.config.Stats(ctx); err != nil {
		told.Error = wire.FromError(fmt.Errorf("look how busy the host is: %w", err))
	} else {
		told.Stats = stats.wire()
	}
	return func() { s.send(told) }
}

func cannot(what string) error {
	return fmt.Errorf("this agent can't %s: %w", what, errors.ErrUnsupported)
}
