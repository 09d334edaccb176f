package fleet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/internal/wire"
	"github.com/slipway-ci/slipway/tokens"
)

// mostPending is how many requests an agent may leave unanswered.
const mostPending = 1024

// session is one connection of one host. It dies whole. The fleet's lock guards
// what is below the link.
type session struct {
	fleet       *Fleet
	host        *host
	link        *wire.Link
	epoch       uint64
	needsUpdate bool
	chores      chan struct{} // something doomed may be removed; of one

	listed  bool // the first full list was taken over
	ended   bool
	last    uint64    // request
	asked   time.Time // when the agent was last asked for stats
	stats   *call     // the one under way
	pending map[uint64]*call
	parts   *parts // of a full list that is coming in
}

// call is a request under way.
type call struct {
	id     uint64
	kind   wire.Type
	sent   *wire.Outgoing
	answer func(error) // applies what came of it, under the lock, once
	done   chan struct{}
	err    error // written before done is closed, as all below is
	data   []byte
	digest string      // of a rotate
	usage  *wire.Usage // of a stats
}

// run serves the session until it ends.
func (s *session) run(ctx context.Context) {
	var others sync.WaitGroup
	others.Go(func() { s.tend(ctx) })
	s.link.Silence(2 * s.fleet.config.Heartbeat)
	err := s.link.Run(s.take)
	s.fleet.ended(s, err)
	others.Wait()
}

// ended takes the host offline, unless a newer session has taken over.
func (f *Fleet) ended(s *session, err error) {
	f.mu.Lock()
	defer f.unlock()
	s.over(err)
	if s.host.session == s {
		s.host.session, s.host.ready, s.host.since = nil, false, time.Now()
		f.events.Put(SessionEvent{Kind: Disconnected, Host: s.host.ID, Epoch: s.epoch, Reason: plain(err).Error()})
		if f.talks(s.host.ID) {
			f.say(hclog.Info, "agent disconnected", "host", s.host.name(), "epoch", s.epoch, "reason", tokens.Redact(err.Error()))
		}
	}
	f.notify()
}

// over ends what is pending. The lock is held.
func (s *session) over(err error) {
	if s.ended {
		return
	}
	s.ended = true
	for _, c := range s.pending {
		s.finish(c, s.cut(c, err))
	}
}

// cut is the error of a call that the session's end left without an answer.
func (s *session) cut(c *call, err error) error {
	if c.sent.Withdraw() {
		return fmt.Errorf("host %s: %w: %w", s.host.name(), errNotSent, plain(err))
	}
	return fmt.Errorf("%w: %s: the connection ended before the answer: %w", ErrOffline, s.host.name(), plain(err))
}

// plain is an error as a text alone: what a connection ended with must not pass
// for an answer.
func plain(err error) error {
	if err == nil {
		return errors.New("closed")
	}
	return errors.New(tokens.Redact(err.Error()))
}

func (s *session) finish(c *call, err error) {
	delete(s.pending, c.id)
	c.err = err
	if c.answer != nil {
		c.answer(err)
	}
	close(c.done)
}

// begin sends a request, which may take so long (0: as long as it likes). The lock
// is held; nothing waits here.
func (s *session) begin(limit time.Duration, f wire.Frame, answer func(error)) (*call, error) {
	if s.ended {
		return nil, fmt.Errorf("host %s: %w: offline", s.host.name(), errNotSent)
	}
	if len(s.pending) >= mostPending {
		return nil, fmt.Errorf("host %s: %w: %d others wait for an answer", s.host.name(), errNotSent, len(s.pending))
	}
	s.last++
	f.ID, f.TimeoutMS = s.last, milliseconds(limit)
	sent, err := s.link.Send(f)
	if err != nil {
		return nil, fmt.Errorf("host %s: %w: %w", s.host.name(), errNotSent, plain(err))
	}
	c := &call{id: s.last, kind: f.Type, sent: sent, answer: answer, done: make(chan struct{})}
	s.pending[c.id] = c
	return c, nil
}

// limitOf is how long the caller waits; every caller has a limit.
func limitOf(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	return max(time.Until(deadline), time.Millisecond)
}

// milliseconds rounds up, and keeps to what may be asked for.
func milliseconds(d time.Duration) int64 {
	return min((d + time.Millisecond - 1).Milliseconds(), wire.MaxTimeout.Milliseconds())
}

// await waits for the answer. A caller that leaves takes its request back if it
// has not left; else a launch or a removal goes on, and the rest is cancelled.
func (s *session) await(ctx context.Context, c *call) error {
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
	}
	s.fleet.mu.Lock()
	defer s.fleet.unlock()
	select {
	case <-c.done:
		return c.err
	default:
	}
	name := s.host.name()
	switch {
	case c.kind != wire.Remove && c.sent.Withdraw():
		s.finish(c, fmt.Errorf("host %s: %w: %w", name, errNotSent, ctx.Err()))
		return c.err
	case c.kind != wire.Remove && c.kind != wire.Launch:
		s.finish(c, ctx.Err())
		_, _ = s.link.Send(wire.Frame{Type: wire.Cancel, ID: c.id})
	}
	return fmt.Errorf("host %s has not answered: %w", name, ctx.Err())
}

// take takes in one frame. It never waits: what an agent sends can't hold up
// anything but its own session.
func (s *session) take(f wire.Frame) error {
	s.fleet.mu.Lock()
	defer s.fleet.unlock()
	if s.ended || f.Type != wire.Bye && f.Epoch != s.epoch {
		return nil // late, of another connection: not believed
	}
	if f.Type == wire.Bye {
		return fmt.Errorf("the agent ended the session: %w", plain(s.host.heard(f.Error)))
	}
	if s.needsUpdate && f.Type != wire.Answer { // all but its answer to an update
		return nil
	}
	switch f.Type {
	case wire.Runners:
		return s.takeList(f.List)
	case wire.Changes:
		return s.takeChanges(f.Changes)
	case wire.Blind:
		s.host.ready, s.host.blind = false, tokens.Redact(s.host.heard(f.Error).Error())
		s.parts = nil
		if s.fleet.talks(s.host.ID) {
			s.fleet.say(hclog.Warn, "host can't observe its engine", "host", s.host.name(), "err", s.host.blind)
		}
		s.fleet.notify()
	case wire.Facts:
		s.takeFacts(*f.Facts)
	case wire.Chunk:
		return s.takeChunk(f)
	case wire.Answer:
		if c := s.pending[f.ID]; c != nil { // else nobody asked, or nobody waits any more
			c.digest, c.usage = f.Digest, f.Stats
			s.finish(c, s.answered(f.Error))
		}
	}
	return nil
}

// takeFacts takes in what is different about the host.
func (s *session) takeFacts(facts wire.HostFacts) {
	h, f := s.host, s.fleet
	h.place.Facts = facts
	h.place.Freed()
	f.events.Put(SessionEvent{Kind: FactsTold, Host: h.ID, Epoch: s.epoch, Facts: facts})
	f.notify()
}

func (s *session) answered(e *wire.Error) error {
	if e == nil {
		return nil
	}
	return fmt.Errorf("host %s: %w", s.host.name(), s.host.heard(e))
}

func (s *session) takeChunk(f wire.Frame) error {
	c := s.pending[f.ID]
	if c == nil || c.kind != wire.Logs {
		return nil
	}
	if len(c.data)+len(f.Data) > wire.MaxLog {
		return fmt.Errorf("%w: a log of more than %d bytes", wire.ErrViolation, wire.MaxLog)
	}
	c.data = append(c.data, f.Data...)
	return nil
}
