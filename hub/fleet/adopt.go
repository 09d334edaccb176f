package fleet

import (
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/hub/fleet/records"
	"github.com/slipway-ci/slipway/internal/wire"
)

// parts is a full list that is coming in.
type parts struct {
	runners   map[string]*wire.Runner
	undecided map[string]bool
	size      int
}

// mostBytes bounds what the runners of one host take up here.
const mostBytes = 32 << 20

// takeList collects a full list, and takes it over when it is whole. The lock is
// held.
func (s *session) takeList(part *wire.Listed) error {
	if s.parts == nil {
		s.parts = &parts{runners: map[string]*wire.Runner{}, undecided: map[string]bool{}}
	}
	for i := range part.Runners {
		r := &part.Runners[i]
		s.parts.runners[r.ID] = r
		s.parts.size += r.Size()
	}
	for _, id := range part.Undecided {
		s.parts.undecided[id] = true
	}
	most := s.fleet.config.MaxRunners
	if len(s.parts.runners) > most || len(s.parts.undecided) > most || s.parts.size > mostBytes {
		return fmt.Errorf("%w: more than %d runners, or %d bytes of them", wire.ErrViolation, most, mostBytes)
	}
	if part.Last {
		list := s.parts
		s.parts = nil
		s.fleet.adopt(s, list)
	}
	return nil
}

// adopt makes the host's records what its agent's full list says. Launches that
// were left without an answer are decided by it: there, still open, or never made.
func (f *Fleet) adopt(s *session, list *parts) {
	h, now := s.host, time.Now()
	h.foreign = map[string]bool{}
	for id, r := range list.runners {
		f.see(h, id, r)
	}
	for id, r := range h.runners { // some are dropped on the way
		switch {
		case list.runners[id] != nil:
		case list.undecided[id]:
			r.uncertain, r.absent = true, time.Time{}
			r.touch()
		default:
			f.missing(r, now)
		}
	}
	s.listed, h.ready, h.blind, h.lostTold = true, true, "", false
	h.place.EngineSeen()
	f.say(hclog.Debug, "full list", "host", h.name(), "epoch", s.epoch, "runners", len(list.runners), "undecided", len(list.undecided))
	if h.count(); h.doomed > 0 {
		s.pokeChores()
	}
	f.notify()
}

// see takes in how the agent of h shows a runner.
func (f *Fleet) see(h *host, id string, seen *wire.Runner) {
	r := f.runners[id]
	if r != nil && r.host != h && !r.absent.IsZero() && r.calls == 0 {
		f.drop(r)
		r = nil
	}
	if r != nil && r.host != h { // believed about its own only
		f.distrust(h, seen)
		return
	}
	kept := *seen // of its own: the rest of the list is not to be kept with it
	if (r == nil || r.labels == nil) && !f.believes(h, kept.State, f.sealer.Unseal(h.ID, id, kept.Labels)) {
		f.distrust(h, seen)
		return
	}
	delete(h.foreign, id)
	told := records.Unstamp(kept.Labels)
	switch {
	case r == nil:
		r = newRecord(id, h, kept.Labels, told)
		f.put(r)
		f.saver.Save(id)
	case r.labels == nil && len(kept.Labels) > 0:
		r.label(kept.Labels)
		f.saver.Save(id)
	}
	if r.share.Zero() && !told.Zero() {
		r.share = told
		f.saver.Save(id)
	}
	kept.Labels, kept.Error = r.labels, h.secrets.Cut(kept.Error)
	if kept.State.Ended() && r.holds() {
		h.place.Freed()
	}
	if kept.State.Ended() && (r.seen == nil || !r.seen.State.Ended()) {
		f.saver.Save(id)
	}
	r.seen, r.stored, r.absent = &kept, false, time.Time{}
	if r.calls == 0 {
		r.uncertain = false
	}
	r.touch()
}

// missing takes in that the runner is not on its host.
func (f *Fleet) missing(r *record, now time.Time) {
	switch {
	case r.calls > 0: // its answer decides
	case r.known() || r.doomed:
		f.drop(r)
	case r.uncertain:
		r.uncertain, r.absent = false, now
		r.touch()
	}
}

// takeChanges takes in what is different. The lock is held.
func (s *session) takeChanges(changed *wire.Changed) error {
	if !s.host.ready {
		return nil // the full list is still to come
	}
	for i := range changed.Runners {
		s.fleet.see(s.host, changed.Runners[i].ID, &changed.Runners[i])
	}
	for _, id := range changed.Gone {
		if r := s.host.runners[id]; r != nil {
			s.fleet.missing(r, time.Now())
		}
		delete(s.host.foreign, id)
	}
	if n := len(s.host.runners) + len(s.host.foreign); n > 2*s.fleet.config.MaxRunners {
		return fmt.Errorf("%w: %d runners are told of", wire.ErrViolation, n)
	}
	if s.host.count(); s.host.doomed > 0 {
		s.pokeChores()
	}
	s.fleet.notify()
	return nil
}

func (s *session) pokeChores() {
	select {
	case s.chores <- struct{}{}:
	default:
	}
}
