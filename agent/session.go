package agent

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/gorilla/websocket"

	"github.com/slipway-ci/slipway/internal/wire"
	"github.com/slipway-ci/slipway/tokens"
)

// session is one connection to the hub. It dies whole.
type session struct {
	link  *wire.Link
	epoch uint64
}

// sendQueue is how many frames may wait for a slow hub: beyond that the session
// ends, and the next one begins with everything anew.
const sendQueue = 1024

// dialTimeout bounds the way to an open WebSocket.
const dialTimeout = 15 * time.Second

// session makes one connection and serves it. It returns why it ended.
func (a *Agent) session(ctx context.Context, token tokens.Token) error {
	host := a.hostNow(ctx)
	conn, err := a.dial(ctx, token)
	if err != nil {
		return err
	}
	link := wire.NewLink(conn, sendQueue)
	hangUp := context.AfterFunc(ctx, func() { conn.Close() })
	terms, err := greet(link, wire.Frame{Type: wire.Hello, Hello: &wire.Greeting{
		Protocol: wire.Protocol, Agent: a.config.ID, Engine: a.config.Engine, Instance: a.instance, Version: a.config.Version, Facts: host,
	}})
	hangUp()
	stop := context.AfterFunc(ctx, func() { link.Bye(wire.ErrStopping) })
	defer stop()
	if err != nil {
		link.Refuse(err)
		return err
	}
	a.removed, a.welcomed, a.admitted = false, time.Now(), token
	if a.config.Accepted != nil {
		a.config.Accepted(token)
	}
	link.Silence(2 * terms.Heartbeat())
	s := &session{link: link, epoch: terms.Epoch}
	if terms.NeedsUpdate {
		a.log.Warn("this agent's version is too far from the hub's: it needs an update and gets no work", "hub_version", terms.Hub)
		return link.Run(func(f wire.Frame) error { return a.takeLittle(ctx, s, f) })
	}
	a.log.Info("connected", "epoch", terms.Epoch, "protocol", terms.Protocol)
	a.mirror.attach(s, host)
	defer a.mirror.detach(s)
	a.poke()
	alive, cancel := context.WithCancel(ctx)
	defer cancel()
	return link.Run(func(f wire.Frame) error { return a.take(ctx, alive, s, f) })
}

func (a *Agent) dial(ctx context.Context, token tokens.Token) (*websocket.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	dialer := websocket.Dialer{
		NetDialContext: a.config.Dial, TLSClientConfig: a.config.TLS, HandshakeTimeout: dialTimeout, Subprotocols: []string{wire.Subprotocol},
	}
	if a.config.Dial == nil {
		dialer.Proxy = http.ProxyFromEnvironment
	}
	header := http.Header{"Authorization": {"Bearer " + token.Reveal()}}
	conn, answer, err := dialer.DialContext(ctx, a.endpoint, header)
	switch {
	case answer != nil && (answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden):
		return nil, fmt.Errorf("%w: status %d: %s", ErrUnauthorized, answer.StatusCode, a.whyRefused(token))
	case answer != nil && err != nil && passes(answer.StatusCode):
		return nil, fmt.Errorf("connect to the hub: status %d: it starts, stops or is busy, or a proxy can't reach it", answer.StatusCode)
	case answer != nil && err != nil:
		return nil, fmt.Errorf("%w: status %d", ErrNoHub, answer.StatusCode)
	case err != nil:
		return nil, fmt.Errorf("connect to the hub: %w", err)
	case conn.Subprotocol() != wire.Subprotocol:
		conn.Close()
		return nil, fmt.Errorf("%w: it does not speak %s", ErrNoHub, wire.Subprotocol)
	}
	return conn, nil
}

// whyRefused is what a refusal can mean, and what to do: the hub tells nobody who has no
// good token which of it is so.
func (a *Agent) whyRefused(token tokens.Token) string {
	what := "it was revoked, or rotated by another agent that has a copy of this one's data, or it is another hub's"
	if a.admitted.Equal(token) {
		what = "the hub let it in before, and it was revoked since, or rotated by another agent that has a copy of this one's data"
	}
	return what + ": enrol this machine anew (slipway hosts reenrol)"
}

// passes says of an answer that a hub will give another one soon: its own 503, and
// what a proxy says of a hub that is away.
func passes(status int) bool {
	return status >= http.StatusInternalServerError || status == http.StatusTooManyRequests
}

// greet says who we are, and reads the terms.
func greet(link *wire.Link, hello wire.Frame) (*wire.Terms, error) {
	if err := link.Greet(hello); err != nil {
		return nil, fmt.Errorf("greet the hub: %w", err)
	}
	f, err := link.First(wire.MaxHello)
	switch {
	case err != nil:
		return nil, fmt.Errorf("wait for the hub's welcome: %w", err)
	case f.Type == wire.Bye:
		return nil, fmt.Errorf("the hub turned us away: %w", f.Error.Err())
	case f.Type != wire.Welcome:
		return nil, fmt.Errorf("%w: %s before a welcome", wire.ErrViolation, f)
	case !f.Welcome.NeedsUpdate && f.Welcome.Protocol > wire.Protocol:
		return nil, fmt.Errorf("%w: version %d was agreed on, and %d is ours", wire.ErrViolation, f.Welcome.Protocol, wire.Protocol)
	}
	return f.Welcome, nil
}

// send queues a frame. A hub that is too slow for that ends the session.
func (s *session) send(f wire.Frame) {
	f.Epoch = s.epoch
	if _, err := s.link.Send(f); err != nil {
		s.link.Close(err)
	}
}

// pong answers heartbeats.
func (s *session) pong(f wire.Frame) error {
	switch f.Type {
	case wire.Ping:
		s.send(wire.Frame{Type: wire.Pong})
	case wire.Bye:
		return fmt.Errorf("the hub ended the session: %w", f.Error.Err())
	}
	return nil
}
