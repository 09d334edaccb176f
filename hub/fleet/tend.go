package fleet

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/slipway-ci/slipway/internal/wire"
)

// tend sends heartbeats, asks for stats, and has the doomed runners removed, until
// the link ends.
func (s *session) tend(ctx context.Context) {
	var chores sync.WaitGroup
	defer chores.Wait()
	var due, busy atomic.Bool
	ticker := time.NewTicker(s.fleet.config.Heartbeat)
	defer ticker.Stop()
	for {
		select {
		case <-s.link.Done():
			return
		case now := <-ticker.C:
			_, _ = s.link.Send(wire.Frame{Type: wire.Ping}) // one that does not fit is not missed
			s.askStats(now)
		case <-s.chores:
			due.Store(true)
			if busy.Swap(true) {
				break // who is at it looks again
			}
			chores.Go(func() {
				for due.Swap(false) {
					s.removeAllDoomed(ctx)
				}
				busy.Store(false)
				if due.Load() {
					s.pokeChores()
				}
			})
		}
	}
}

// askStats asks how busy the host is, now and then. An agent that can't tell is
// not asked again in this session, and neither is one that has yet to answer.
func (s *session) askStats(now time.Time) {
	f := s.fleet
	f.mu.Lock()
	defer f.unlock()
	if s.ended || !s.listed || s.stats != nil || now.Sub(s.asked) < f.config.StatsInterval {
		return
	}
	s.asked = now
	c, err := s.begin(f.config.CallTimeout, wire.Frame{Type: wire.Stats}, func(err error) { s.toldStats(err) })
	if err == nil {
		s.stats = c
	}
}

// toldStats takes in how busy the host is. The lock is held.
func (s *session) toldStats(err error) {
	f, h, usage := s.fleet, s.host, s.stats.usage
	if errors.Is(err, errors.ErrUnsupported) {
		return // s.stats stays
	}
	s.stats = nil
	if err != nil || usage == nil || s.ended {
		return
	}
	h.usage, h.usageAt = *usage, time.Now()
	if usage.Disk.Total > 0 {
		if f.placer.FloorBetween(h.place.Facts.Disk.Free, usage.Disk.Free) {
			f.notify() // there is room again, or none any more
		}
		h.place.Facts.Disk = usage.Disk
	}
	f.events.Put(SessionEvent{Kind: StatsTold, Host: h.ID, Epoch: s.epoch, Usage: *usage})
}
