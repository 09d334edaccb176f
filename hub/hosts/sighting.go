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
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/tokens"
)

// Sighting is what an agent told. Zero fields were not told.
type Sighting struct {
	// Agent and Engine are their ids.
	Agent, Engine string
	// Version of the agent.
	Version string
	// Facts of the host.
	Facts *fleet.Facts
}

// sighted is what is known in memory of when and how a host was seen. The
// registry's mu guards it.
type sighted struct {
	at     time.Time // the last sign of life
	stale  bool      // at is not written yet
	known  Sighting  // as it is written; nil Facts: nothing is known to be
	facts  fleet.Facts
	newest bool // facts are newer than what is written
}

// Seen takes in that a host's agent is there, and what it told. What changed is
// written at once; that it was seen, and numbers that always change, are written
// with those of all the others every Config.SightingInterval: a heartbeat costs no
// write. Errors: ErrNotFound; ErrDuplicated, and then nothing is kept.
func (r *Registry) Seen(ctx context.Context, hostID string, s Sighting) error {
	if r.sighted(hostID, s) {
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
	if r.sighted(hostID, s) {
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
	r.alive(hostID)
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
	r.mu.Lock()
	defer r.mu.Unlock()
	steady := lasting(h.Facts)
	k := r.seen[h.ID]
	if k == nil {
		k = &sighted{at: h.LastSeenAt}
		r.seen[h.ID] = k
	}
	k.known = Sighting{Agent: h.Agent, Engine: h.Engine, Version: h.AgentVersion, Facts: &steady}
	k.facts, k.newest = h.Facts, false
}

// sighted notes a sighting in memory; false: there is something new to write.
func (r *Registry) sighted(hostID string, s Sighting) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.seen[hostID]
	if k == nil || k.known.Facts == nil {
		return false
	}
	told := func(value, known string) bool { return value == "" || value == known }
	if !told(s.Agent, k.known.Agent) || !told(s.Engine, k.known.Engine) || !told(s.Version, k.known.Version) {
		return false
	}
	if s.Facts != nil {
		if !sameFacts(lasting(*s.Facts), *k.known.Facts) {
			return false
		}
		if !sameFacts(*s.Facts, k.facts) {
			k.facts, k.newest = *s.Facts, true
		}
	}
	k.at, k.stale = time.Now(), true
	return true
}

// sameFacts compares what is sent, so that a field that facts gain counts.
func sameFacts(a, b fleet.Facts) bool {
	one, err := json.Marshal(a)
	other, err2 := json.Marshal(b)
	return err == nil && err2 == nil && string(one) == string(other)
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
	if s.Engine == "" || s.Engine == h.Engine {
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
	case fleet.FactsTold:
		err = r.Seen(ctx, e.Host, Sighting{Facts: &e.Facts})
	case fleet.StatsTold:
		err = r.Seen(ctx, e.Host, Sighting{})
		r.diskTold(e.Host, e.Usage.Disk)
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

func (r *Registry) tellSession(ctx context.Context, kind, id, text string) {
	if h, err := r.Host(ctx, id); err == nil {
		r.cfg.Events(kind, h.object(), tokens.Redact(text))
	}
}

// diskTold takes over how full a host's disk is.
func (r *Registry) diskTold(id string, disk fleet.Disk) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k := r.seen[id]; k != nil && disk != (fleet.Disk{}) && k.known.Facts != nil && k.facts.Disk != disk {
		k.facts.Disk, k.newest = disk, true
	}
}

// forget drops what is known in memory of a host.
func (r *Registry) forget(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.seen, id)
	delete(r.asked, id)
	delete(r.ending, id)
}

// freshen adds what is newer in memory.
func (r *Registry) freshen(hosts []Host) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range hosts {
		k := r.seen[hosts[i].ID]
		if k == nil {
			continue
		}
		if at := k.at.UTC().Truncate(time.Millisecond); at.After(hosts[i].LastSeenAt) {
			hosts[i].LastSeenAt = at
		}
		if k.newest {
			hosts[i].Facts = k.facts
		}
	}
}

// flush writes who was seen, and what changes all the time, in one write.
func (r *Registry) flush(ctx context.Context) error {
	for id, st := range r.states() {
		if st.Online {
			r.alive(id)
		}
	}
	r.mu.Lock()
	seen := map[string]int64{}
	facts := map[string]fleet.Facts{}
	for id, k := range r.seen {
		if k.stale {
			seen[id] = millis(k.at)
		}
		if k.newest {
			facts[id] = k.facts
		}
		k.stale, k.newest = false, false
	}
	r.mu.Unlock()
	if len(seen)+len(facts) == 0 {
		return nil
	}
	err := r.write(ctx, func(t *tx) error {
		for _, id := range slices.Sorted(maps.Keys(seen)) {
			if _, err := t.Exec(`UPDATE hosts SET seen_at = max(coalesce(seen_at, 0), ?) WHERE id = ? AND removed_at IS NULL`, seen[id], id); err != nil {
				return err
			}
		}
		for _, id := range slices.Sorted(maps.Keys(facts)) {
			text, err := json.Marshal(facts[id])
			if err != nil {
				return err
			}
			if _, err := t.Exec(`UPDATE hosts SET facts = ? WHERE id = ? AND removed_at IS NULL`, string(text), id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		r.unflush(seen, facts)
		return fmt.Errorf("hosts: write who was seen: %w", err)
	}
	return nil
}

// unflush has what could not be written tried again.
func (r *Registry) unflush(seen map[string]int64, facts map[string]fleet.Facts) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, k := range r.seen {
		_, s := seen[id]
		_, f := facts[id]
		k.stale, k.newest = k.stale || s, k.newest || f
	}
}

// alive notes a sign of life.
func (r *Registry) alive(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.seen[id]
	if k == nil {
		k = &sighted{}
		r.seen[id] = k
	}
	k.at, k.stale = time.Now(), true
}

// lasting is what facts tell that does not change all the time.
func lasting(f fleet.Facts) fleet.Facts {
	f.Disk = fleet.Disk{}
	return f
}
