package fleet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/internal/wire"
	"github.com/slipway-ci/slipway/tokens"
)

// Remove is backend.Backend's. On a host that is away it is remembered, done
// when the host returns, and answered with ErrOffline meanwhile. Of a host that
// has been away for too long it is ErrLost, and not remembered: those runners are
// told as ended, and who clears up what has ended must not end what may live; so too
// for a moment after that host's return.
func (f *Fleet) Remove(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, f.config.CallTimeout)
	defer cancel()
	for {
		c, s, joined, err := f.beginRemove(ctx, id)
		if c != nil {
			err = s.await(ctx, c)
		}
		if joined && ended(err) && ctx.Err() == nil {
			continue // it was the other's time that was over, not ours
		}
		if err != nil {
			return fmt.Errorf("remove %s: %w", id, err)
		}
		return nil
	}
}

// returnGrace is how long after the return of a lost host its runners are not removed:
// who asks for it so soon may have decided by a list of before, as of one that ended.
const returnGrace = 30 * time.Second

func ended(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// beginRemove sends a removal, or joins the one under way, or writes down that it
// is to be done.
func (f *Fleet) beginRemove(ctx context.Context, id string) (c *call, s *session, joined bool, err error) {
	f.mu.Lock()
	defer f.unlock()
	r, now := f.runners[id], time.Now()
	switch {
	case !f.open:
		return nil, nil, false, fmt.Errorf("the fleet is not running: %w", backend.ErrUnavailable)
	case r == nil:
		return nil, nil, false, nil
	case f.lost(r.host, now):
		return nil, nil, false, fmt.Errorf("%w: %s: nothing is done before it returns or is removed", ErrLost, r.host.name())
	case r.asked.Before(r.host.returned) && now.Sub(r.host.returned) < returnGrace:
		return nil, nil, false, fmt.Errorf("%w until a moment ago: %s: look at its runners again", ErrLost, r.host.name())
	case !r.host.reachable():
		r.doomed = true
		r.touch()
		f.saver.Save(id)
		return nil, nil, false, fmt.Errorf("%w: %s: remembered, and done when it returns", ErrOffline, r.host.name())
	}
	s, joined = r.host.session, r.removal != nil
	if c, err = f.removeOn(ctx, s, r); err != nil {
		r.doomed = true
		r.touch()
		f.saver.Save(id)
		s.pokeChores()
	}
	return c, s, joined, err
}

// removeOn sends a removal, or joins the one under way. The lock is held.
func (f *Fleet) removeOn(ctx context.Context, s *session, r *record) (*call, error) {
	if r.removal != nil {
		return r.removal, nil
	}
	c, err := s.begin(limitOf(ctx), wire.Frame{Type: wire.Remove, Runner: r.id}, func(err error) { f.removed(s, r, err) })
	r.removal = c
	return c, err
}

// removed applies what came of a removal. The lock is held.
func (f *Fleet) removed(s *session, r *record, err error) {
	r.removal = nil
	switch {
	case err == nil && r.calls == 0:
		f.drop(r)
	case err == nil: // a launch has overtaken it, and its answer decides
		r.seen, r.stored = nil, false
		r.touch()
	case s.ended: // nobody knows: it is done again when the host returns
		r.doomed = true
		r.touch()
		f.saver.Save(r.id)
	}
	f.notify()
}

// mostChores is how many doomed runners of a host are removed at once.
const mostChores = 8

// removeAllDoomed removes the doomed runners of a host that has returned, a few at
// once.
func (s *session) removeAllDoomed(ctx context.Context) {
	var deeds sync.WaitGroup
	defer deeds.Wait()
	slots := make(chan struct{}, mostChores)
	for _, r := range s.doomed() {
		select {
		case slots <- struct{}{}:
		case <-s.link.Done():
			return
		}
		deeds.Go(func() {
			s.removeDoomed(ctx, r)
			<-slots
		})
	}
}

func (s *session) doomed() (doomed []*record) {
	s.fleet.mu.Lock()
	defer s.fleet.unlock()
	if s.ended || !s.listed {
		return nil
	}
	for _, r := range s.host.runners {
		if r.doomed && r.removal == nil {
			doomed = append(doomed, r)
		}
	}
	return doomed
}

// choreRetry is the pause after a removal that failed.
const choreRetry = 5 * time.Second

func (s *session) removeDoomed(ctx context.Context, r *record) {
	f := s.fleet
	ctx, cancel := context.WithTimeout(ctx, f.config.CallTimeout)
	defer cancel()
	f.mu.Lock()
	if s.ended || f.runners[r.id] != r {
		f.unlock()
		return
	}
	c, err := f.removeOn(ctx, s, r)
	f.unlock()
	if err == nil {
		err = s.await(ctx, c)
	}
	if err == nil {
		f.log.Info("removed", "runner", r.id, "host", s.host.name(), "reason", "asked for while the host was away")
		return
	}
	f.log.Warn("remove", "runner", r.id, "host", s.host.name(), "err", tokens.Redact(err.Error()))
	time.AfterFunc(choreRetry, s.pokeChores)
}
