package fleet

import (
	"context"
	"fmt"
	"time"

	"github.com/slipway-ci/slipway/internal/wire"
	"github.com/slipway-ci/slipway/tokens"
)

// request asks a host's agent for something, and waits for what comes of it. One
// that needs an update hears of nothing but that.
func (f *Fleet) request(ctx context.Context, id string, frame wire.Frame) (*call, error) {
	f.mu.Lock()
	h := f.hosts[id]
	var s *session
	var c *call
	var err error
	switch {
	case h == nil:
		err = fmt.Errorf("%w: %s", ErrUnknownHost, id)
	case h.session == nil, h.session.needsUpdate && frame.Type != wire.Update, !h.session.listed && frame.Type == wire.List:
		err = fmt.Errorf("%w: %s", ErrOffline, h.name())
	default:
		s = h.session
		c, err = s.begin(limitOf(ctx), frame, nil)
	}
	f.unlock()
	if err == nil {
		err = s.await(ctx, c)
	}
	return c, err
}

// Relist asks a host's agent for its full list.
func (f *Fleet) Relist(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, f.config.CallTimeout)
	defer cancel()
	if _, err := f.request(ctx, id, wire.Frame{Type: wire.List}); err != nil {
		return fmt.Errorf("list host %s: %w", id, err)
	}
	return nil
}

// RotateToken has a host's agent make itself a new token, and gives its digest.
// Authenticate must take it, beside the old one's, before Reconnect is called: the
// agent tries the new one first from now on. A repeated call may give the same
// digest. errors.ErrUnsupported: the agent can't.
func (f *Fleet) RotateToken(ctx context.Context, host string) (next tokens.Digest, err error) {
	ctx, cancel := context.WithTimeout(ctx, f.config.CallTimeout)
	defer cancel()
	c, err := f.request(ctx, host, wire.Frame{Type: wire.Rotate})
	if err == nil {
		next, err = tokens.ParseDigest(c.digest)
	}
	if err != nil {
		return tokens.Digest{}, fmt.Errorf("rotate the token of host %s: %w", host, err)
	}
	return next, nil
}

// Reconnect ends a host's connection, and waits until its agent is back, which
// comes at once and with its newest token.
func (f *Fleet) Reconnect(ctx context.Context, host string) error {
	ctx, cancel := context.WithTimeout(ctx, f.config.CallTimeout)
	defer cancel()
	f.mu.Lock()
	h := f.hosts[host]
	var epoch uint64
	var s *session
	if h != nil {
		epoch, s = h.epoch, h.session
	}
	if s != nil {
		s.link.Bye(wire.ErrRotated)
		s.over(wire.ErrRotated)
	}
	f.unlock()
	switch {
	case h == nil:
		return fmt.Errorf("reconnect host %s: %w", host, ErrUnknownHost)
	case s == nil:
		return fmt.Errorf("reconnect host %s: %w", host, ErrOffline)
	}
	if err := f.until(ctx, func() bool { return h.epoch > epoch && h.session != nil }); err != nil {
		return fmt.Errorf("reconnect host %s: it has not come back: %w", host, err)
	}
	return nil
}

// SendAway ends a host's connection, whose credential is over, and tells its agent why,
// such as ErrRevoked or ErrReplaced. Nobody waits for it to come back.
func (f *Fleet) SendAway(host string, why error) {
	f.mu.Lock()
	defer f.unlock()
	h := f.hosts[host]
	if h == nil {
		return
	}
	h.instances = instances{} // with another credential any of them may come
	if h.session != nil {
		h.session.link.Bye(why)
		h.session.over(why)
	}
}

// until waits for something to become so. The lock is held when it is looked for.
func (f *Fleet) until(ctx context.Context, so func() bool) error {
	for {
		f.mu.Lock()
		is, changed := so(), f.changed
		f.unlock()
		if is {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// updateTimeout bounds an Update whose caller names no limit: much may have to be
// fetched.
const updateTimeout = 15 * time.Minute

// Update has a host's agent bring itself to a version, fetched from its own hub. It
// returns when that is in place, or is not going to be; the agent restarts a moment
// later, and its next session tells its version. It reaches agents that are too far
// from our version for anything else. backend.ErrRefused: the host's own policy
// forbids it.
func (f *Fleet) Update(ctx context.Context, host, version string) error {
	ctx, cancel := context.WithTimeout(ctx, updateTimeout)
	defer cancel()
	if version == "" || len(version) > wire.MaxID {
		return fmt.Errorf("update host %s: %q is no version", host, version)
	}
	if _, err := f.request(ctx, host, wire.Frame{Type: wire.Update, Version: version}); err != nil {
		return fmt.Errorf("update host %s: %w", host, err)
	}
	return nil
}
