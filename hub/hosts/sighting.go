package hosts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/hub/hosts/seen"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/tokens"
)

// Sighting is what an agent told. Zero fields were not told.
type Sighting = seen.Sighting

// Seen takes in that a host's agent is there, and what it told. What changed is
// written at once, if that was not so a moment ago; that it was seen, and numbers
// that always change, are written with those of all the others every
// Config.SightingInterval: a heartbeat costs no write. Errors: ErrNotFound; ErrDuplicated, and then nothing is kept.
func (r *Registry) Seen(ctx context.Context, hostID string, s Sighting) error {
	if r.seen.Note(hostID, s) {
		return nil
	}
	var h Host
	err := r.read(ctx, func(t *tx) (err error) { // after a restart: it is as a rule as it was
		h, err = t.find(hostID)
		return err
	})
	if err != nil {
		return failed("note a sight of host", hostID, err)
	}
	r.remember(h)
	if r.seen.Note(hostID, s) {
		return nil
	}
	moved := false
	err = r.write(ctx, func(t *tx) error {
		h, moved, err = t.see(hostID, s)
		return err
	})
	if err != nil {
		return failed("note a sight of host", hostID, err)
	}
	r.remember(h)
	r.seen.WrittenNow(hostID)
	if moved {
		r.applied(ctx, hostID)
	}
	r.poke()
	return nil
}

// see writes what was told. moved says that the fleet has to be told.
func (t *tx) see(id string, s Sighting) (h Host, moved bool, err error) {
	if h, err = t.find(id); err != nil {
		return h, false, err
	}
	if moved, err = t.pair(&h, s); err != nil {
		return h, false, err
	}
	if s.Version != "" {
		h.AgentVersion = s.Version
	}
	if s.Facts != nil {
		h.Facts = *s.Facts
	}
	facts, err := json.Marshal(h.Facts)
	if err != nil {
		return h, false, err
	}
	_, err = t.Exec(`UPDATE hosts SET agent = ?, engine = ?, agent_version = ?, facts = ?, seen_at = ? WHERE id = ?`,
		h.Agent, h.Engine, h.AgentVersion, string(facts), millis(t.now), h.ID)
	return h, moved, err
}

// remember notes what is written of a host.
func (r *Registry) remember(h Host) {
	r.seen.Written(h.ID, Sighting{Agent: h.Agent, Engine: h.Engine, Version: h.AgentVersion, Facts: &h.Facts}, h.LastSeenAt)
}

// pair checks and takes over which agent and engine a host is. moved says that
// the fleet has to be told.
func (t *tx) pair(h *Host, s Sighting) (moved bool, err error) {
	if s.Agent != "" && h.Agent != "" && s.Agent != h.Agent {
		return false, fmt.Errorf("%w: its agent is %.40s, as it was enrolled, not %.40s: enrol it anew if that is meant", ErrDuplicated, h.Agent, s.Agent)
	}
	if s.Agent != "" && h.Agent == "" {
		h.Agent, moved = s.Agent, true
	}
	if s.Engine == "" || s.Engine == h.Engine || !h.Enrolled { // revoked meanwhile
		return moved, nil
	}
	other, found, err := store.One(t.Tx, store.Value[string], `SELECT name FROM hosts WHERE engine = ? AND id <> ? AND removed_at IS NULL`, s.Engine, h.ID)
	switch {
	case err != nil:
		return false, err
	case found:
		return false, fmt.Errorf("%w: its engine is that of host %s", ErrDuplicated, other)
	}
	h.Engine = s.Engine
	return true, nil
}

// Session takes in what became of a host's session: for fleet.Config.Sessions.
func (r *Registry) Session(ctx context.Context, e fleet.SessionEvent) {
	var err error
	switch e.Kind {
	case fleet.Connected:
		err = r.Seen(ctx, e.Host, Sighting{Agent: e.Agent, Engine: e.Engine, Version: e.Version, Facts: &e.Facts})
		r.tellSession(ctx, "host-online", e.Host, "its agent is connected")
	case fleet.Disconnected:
		err = r.Seen(ctx, e.Host, Sighting{})
		r.tellSession(ctx, "host-offline", e.Host, "its agent is away: "+e.Reason)
	case fleet.BackedOff:
		r.tellSession(ctx, "host-backing-off", e.Host, "launches"+ofScaleSet(e.Template)+" wait there, since one failed, or what it needs: "+e.Reason)
	case fleet.Duplicated:
		r.tellSession(ctx, "host-duplicated", e.Host, e.Reason)
	case fleet.FactsTold:
		err = r.Seen(ctx, e.Host, Sighting{Facts: &e.Facts})
	case fleet.StatsTold:
		err = r.Seen(ctx, e.Host, Sighting{})
		r.seen.Disk(e.Host, e.Usage.Disk)
	}
	r.poke()
	switch {
	case err == nil || ctx.Err() != nil:
	case errors.Is(err, ErrNotFound): // it came in while it was being removed
		if f := r.bound(); f != nil && e.Kind != fleet.Disconnected {
			_ = f.Forget(e.Host, true) // fails only where it is gone by now
		}
	default:
		r.log.Warn("note a sight of a host", "host", e.Host, "err", redacted(err))
	}
}

// tellSession is an event, unless the host has had many of late: an agent may come
// and go as often as it likes.
func (r *Registry) tellSession(ctx context.Context, kind, id, text string) {
	if !r.seen.Tell(id) {
		return
	}
	if h, err := r.Host(ctx, id); err == nil {
		r.cfg.Events(kind, h.object(), tokens.Redact(text))
	}
}

func ofScaleSet(template string) string {
	if template == "" {
		return ""
	}
	return " of scale set " + template
}

// forget drops what is known in memory of a host.
func (r *Registry) forget(id string) {
	r.rollouts.Forget(id)
	r.seen.Forget(id)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.ending, id)
	delete(r.retiring, id)
}

// freshen adds what is newer in memory.
func (r *Registry) freshen(hosts []Host) {
	for i := range hosts {
		at, newer := r.seen.Last(hosts[i].ID)
		if at = at.UTC().Truncate(time.Millisecond); at.After(hosts[i].LastSeenAt) {
			hosts[i].LastSeenAt = at
		}
		if newer.Facts != nil {
			hosts[i].AgentVersion, hosts[i].Facts = newer.Version, *newer.Facts
		}
	}
}

// flush writes who was seen, and what changes all the time, in one write.
func (r *Registry) flush(ctx context.Context) error {
	for id, st := range r.states() {
		if st.Online {
			r.seen.Alive(id)
		}
	}
	news := r.seen.Take()
	r.tellFlapping(ctx, news.Untold)
	if len(news.Seen)+len(news.Told) == 0 {
		return nil
	}
	err := r.write(ctx, func(t *tx) error {
		for _, id := range slices.Sorted(maps.Keys(news.Seen)) {
			if _, err := t.Exec(`UPDATE hosts SET seen_at = max(coalesce(seen_at, 0), ?) WHERE id = ? AND removed_at IS NULL`, millis(news.Seen[id]), id); err != nil {
				return err
			}
		}
		for _, id := range slices.Sorted(maps.Keys(news.Told)) {
			facts, err := json.Marshal(news.Told[id].Facts)
			if err != nil {
				return err
			}
			if _, err := t.Exec(`UPDATE hosts SET agent_version = ?, facts = ? WHERE id = ? AND removed_at IS NULL`, news.Told[id].Version, string(facts), id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		r.seen.Return(news)
		return fmt.Errorf("hosts: write who was seen: %w", err)
	}
	return nil
}

func (r *Registry) tellFlapping(ctx context.Context, untold map[string]int) {
	for _, id := range slices.Sorted(maps.Keys(untold)) {
		if h, err := r.Host(ctx, id); err == nil {
			r.cfg.Events("host-flapping", h.object(), fmt.Sprintf("its agent came and went more often than is told: events passed over: %d", untold[id]))
		}
	}
}
