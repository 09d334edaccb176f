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
	at      time.Time // the last sign of life
	stale   bool      // at is not written yet
	known   Sighting  // as it is written, of Facts what lasts; nil Facts: not known
	wrote   time.Time // when it was last written at once
	version string    // as it was told last,
	facts   fleet.Facts
	newest  bool // which is newer than what is written

	told, untold int // sessions since the last flush
}

const (
	// factsSpacing is the least time between two writes of what one agent tells of
	// its host: it may tell other facts as often as it likes.
	factsSpacing = 10 * time.Second
	// mostTold is how many events of its sessions one host gets per interval.
	mostTold = 10
)

// Seen takes in that a host's agent is there, and what it told. What changed is
// written at once, if that was not so a moment ago; that it was seen, and numbers
// that always change, are written with those of all the others every
// Config.SightingInterval: a heartbeat costs no write. Errors: ErrNotFound; ErrDuplicated, and then nothing is kept.
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
	r.wrote(hostID)
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
	k.version, k.facts, k.newest = h.AgentVersion, h.Facts, false
}

// wrote notes that what a host told was written just now.
func (r *Registry) wrote(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k := r.seen[id]; k != nil {
		k.at, k.wrote, k.stale = time.Now(), time.Now(), false
	}
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
	if !told(s.Agent, k.known.Agent) || !told(s.Engine, k.known.Engine) {
		return false
	}
	news := !told(s.Version, k.known.Version) || s.Facts != nil && !sameFacts(lasting(*s.Facts), *k.known.Facts)
	if news && time.Since(k.wrote) >= factsSpacing {
		return false
	}
	if !told(s.Version, k.version) {
		k.version, k.newest = s.Version, true
	}
	if s.Facts != nil && !sameFacts(*s.Facts, k.facts) {
		k.facts, k.newest = *s.Facts, true
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

// tellSession is an event, unless the host has had many of late: an agent may come
// and go as often as it likes.
func (r *Registry) tellSession(ctx context.Context, kind, id, text string) {
	r.mu.Lock()
	k := r.seen[id]
	many := k != nil && k.told >= mostTold
	switch {
	case many:
		k.untold++
	case k != nil:
		k.told++
	}
	r.mu.Unlock()
	if many {
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
	delete(r.retiring, id)
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
			hosts[i].AgentVersion, hosts[i].Facts = k.version, k.facts
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
	seen, told, untold := r.unwritten()
	r.tellFlapping(ctx, untold)
	if len(seen)+len(told) == 0 {
		return nil
	}
	err := r.write(ctx, func(t *tx) error {
		for _, id := range slices.Sorted(maps.Keys(seen)) {
			if _, err := t.Exec(`UPDATE hosts SET seen_at = max(coalesce(seen_at, 0), ?) WHERE id = ? AND removed_at IS NULL`, seen[id], id); err != nil {
				return err
			}
		}
		for _, id := range slices.Sorted(maps.Keys(told)) {
			facts, err := json.Marshal(told[id].Facts)
			if err != nil {
				return err
			}
			if _, err := t.Exec(`UPDATE hosts SET agent_version = ?, facts = ? WHERE id = ? AND removed_at IS NULL`, told[id].Version, string(facts), id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		r.unflush(seen, told)
		return fmt.Errorf("hosts: write who was seen: %w", err)
	}
	return nil
}

// unwritten is what is to be written: when hosts were seen, and what they told; and
// how many events of their sessions were passed over.
func (r *Registry) unwritten() (seen map[string]int64, told map[string]Sighting, untold map[string]int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen, told, untold = map[string]int64{}, map[string]Sighting{}, map[string]int{}
	for id, k := range r.seen {
		if k.stale {
			seen[id] = millis(k.at)
		}
		if k.newest {
			facts := k.facts
			told[id] = Sighting{Version: k.version, Facts: &facts}
		}
		if k.untold > 0 {
			untold[id] = k.untold
		}
		k.stale, k.newest, k.told, k.untold = false, false, 0, 0
	}
	return seen, told, untold
}

// unflush has what could not be written tried again.
func (r *Registry) unflush(seen map[string]int64, told map[string]Sighting) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, k := range r.seen {
		_, wasSeen := seen[id]
		_, wasTold := told[id]
		k.stale, k.newest = k.stale || wasSeen, k.newest || wasTold
	}
}

func (r *Registry) tellFlapping(ctx context.Context, untold map[string]int) {
	for _, id := range slices.Sorted(maps.Keys(untold)) {
		if h, err := r.Host(ctx, id); err == nil {
			r.cfg.Events("host-flapping", h.object(), fmt.Sprintf("its agent came and went more often than is told: events passed over: %d", untold[id]))
		}
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
