package sim

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/provisioner"
)

// settled is how old news must be before the loop must act on it. In fake time
// any time at all will do: see the package comment.
const settled = time.Millisecond

// checking takes the lock for a check; it says no for a dead life, whose calls
// have no effect.
func (l *Life) checking() (release func(), alive bool) {
	l.w.mu.Lock()
	return l.w.mu.Unlock, !l.isDead()
}

// canary says whether text holds a secret, or what is left of one.
func canary(text string) bool { return strings.Contains(text, "bird-in-the-mine") }

// beginLaunch checks what may be launched.
func (l *Life) beginLaunch(spec backend.Spec) {
	release, alive := l.checking()
	defer release()
	if !alive {
		return
	}
	w, k, key := l.w, &l.know, spec.Labels[provisioner.LabelTemplate]
	breaks := func(rule, format string, args ...any) {
		w.trace.breaks(rule, "life %d launches %s of %s: %s", l.n, short(spec.ID), key, fmt.Sprintf(format, args...))
	}
	l.checkIdentity(spec, breaks)
	l.checkRegistration(spec, key, breaks)
	most, ok := w.most(key)
	if !ok {
		breaks("labels", "there is no such template")
	}
	if n := l.live(key, spec.ID); n >= most {
		breaks("invariant 2", "%d are live or in flight, %d are allowed", n, most)
	}
	switch told := k.mints[spec.ID]; {
	case k.last == nil:
		breaks("invariant 3", "nothing was listed yet")
	case told != nil && !k.failed.IsZero() && told.began.After(k.failed.Add(settled)):
		breaks("invariant 3", "minted %s after the engine could no longer be observed", told.began.Sub(k.failed))
	}
	if !l.stopped.IsZero() && time.Since(l.stopped) > 31*time.Second {
		breaks("stop", "%s after the stop", time.Since(l.stopped))
	}
	own := k.launches[spec.ID]
	if own != nil && own.outcome != uncertain {
		breaks("invariant 1", "it was launched before, and that was not uncertain")
	}
	if own == nil {
		own = &launchTold{began: time.Now(), template: key}
		k.launches[spec.ID], k.open[spec.ID] = own, own
	} else {
		own.outcome = underway
	}
}

// checkIdentity checks a launch's id and labels.
func (l *Life) checkIdentity(spec backend.Spec, breaks func(rule, format string, args ...any)) {
	id, err := uuid.Parse(spec.ID)
	if err != nil || id.Version() != 7 || id.String() != spec.ID {
		breaks("ids", "%q is no UUIDv7 in its canonical form", spec.ID)
		return
	}
	if age := time.Since(born(spec.ID)); age < -time.Second || age > 10*time.Minute {
		breaks("ids", "its id says that it was made %s ago", age)
	}
	for _, other := range l.w.lives {
		if other != l && other.know.launches[spec.ID] != nil {
			breaks("ids", "life %d launched it before", other.n)
		}
	}
	for key, value := range spec.Labels {
		if canary(key + value) {
			breaks("invariant 10", "label %s holds a secret", key)
		}
	}
	if text := fmt.Sprintf("%v %+v %#v %s", spec, spec, spec, spec.Command); canary(text) {
		breaks("invariant 10", "the spec prints a secret")
	}
}

// checkRegistration checks that a launch has a registration that is its own.
func (l *Life) checkRegistration(spec backend.Spec, key string, breaks func(rule, format string, args ...any)) {
	told, set := l.know.mints[spec.ID], l.w.setup
	switch {
	case told == nil || told.credential == "":
		breaks("invariant 1", "nothing was minted for it")
		return
	case spec.Env[credentialKey] != told.credential:
		breaks("invariant 1", "with another's registration")
	case !told.expires.IsZero() && time.Now().After(told.expires):
		breaks("order", "with a registration that expired %s ago", time.Since(told.expires))
	case told.template != key:
		breaks("labels", "minted for template %s", told.template)
	case told.grant != spec.Labels[provisioner.LabelReservation]:
		breaks("labels", "minted for reservation %q, labelled %q", told.grant, spec.Labels[provisioner.LabelReservation])
	}
	if spec.Labels["sim-instance"] == "" {
		breaks("labels", "the registration's labels are missing")
	}
	if set.Announce && !l.know.announced[spec.ID] {
		breaks("order", "it was not announced")
	}
	if g, ok := l.know.grants[told.grant]; ok {
		if l.know.launches[spec.ID] == nil {
			g.launched++
			l.know.grants[told.grant] = g
		}
		if n := g.launched; n > g.count {
			breaks("grants", "%s is good for %d runners", told.grant, g.count)
		}
	}
}

// live counts the runners of a template that this life must take for live:
// those it launched and that have not truly ended, and others that its last
// listing must have shown.
func (l *Life) live(key, but string) int {
	n, e := 0, l.w.engine
	for id, own := range l.know.open {
		r := e.runners[id]
		switch {
		case own.outcome == definite, e.past[id], r != nil && r.state.Ended():
			delete(l.know.open, id) // for good
		case id == but || own.template != key:
		case r == nil && (own.outcome == answered || l.know.removed[id]):
		case l.know.removed[id] && !l.shown(id):
		default:
			n++
		}
	}
	for id, r := range e.runners {
		if l.know.launches[id] == nil && r.owner == owner && r.template == key && r.state.HoldsSlot() && l.shown(id) {
			n++
		}
	}
	return n
}

// shown says whether the last listing, if the loop has had time to read it,
// showed a runner that holds a slot.
func (l *Life) shown(id string) bool {
	last := l.know.last
	if last == nil || time.Since(last.at) < settled {
		last = l.know.before
	}
	return last != nil && last.states[id] != "" && last.states[id].HoldsSlot()
}

// checkStart checks that no registration starts a second process.
func (w *World) checkStart(r *runner) {
	n := w.counts["started/"+r.credential]
	w.counts["started/"+r.credential]++
	w.starts[r.template] = append(w.starts[r.template], time.Since(w.trace.start))
	if n > 0 {
		w.trace.breaks("invariant 1", "%s is started with a registration that started one before", short(r.id))
	}
}

// born is the time in a runner's id.
func born(id string) time.Time {
	u, err := uuid.Parse(id)
	if err != nil {
		return time.Time{}
	}
	ms := int64(u[0])<<40 | int64(u[1])<<32 | int64(u[2])<<24 | int64(u[3])<<16 | int64(u[4])<<8 | int64(u[5])
	return time.UnixMilli(ms)
}

// beginRemove checks what may be removed, and tells the runner's template.
func (l *Life) beginRemove(id string) string {
	release, alive := l.checking()
	defer release()
	w := l.w
	r := w.engine.runners[id]
	if !alive {
		return ""
	}
	l.tried("remove", id)
	if r == nil {
		return ""
	}
	breaks := func(rule, format string, args ...any) {
		w.trace.breaks(rule, "life %d removes %s (%s, %s): %s", l.n, short(id), r.state, r.template, fmt.Sprintf(format, args...))
	}
	last := l.know.last
	switch {
	case r.owner != owner:
		breaks("invariant 4", "it is not ours")
	case last != nil && time.Since(last.at) >= settled && last.states[id] == backend.Unknown && !r.host.online:
		breaks("invariant 3", "its host is offline")
	case r.half || r.state == backend.Stopping:
	case r.state.Ended():
		l.checkReap(r, breaks)
	default:
		l.checkEnd(r, breaks)
	}
	w.trace.say("life %d removes %s", l.n, short(id))
	return r.template
}

// checkEnd checks that there is a reason to end a process.
func (l *Life) checkEnd(r *runner, breaks func(rule, format string, args ...any)) {
	rec := l.w.plane.records[r.id]
	busy := rec != nil && rec.busy()
	switch {
	case l.reason(r) != "":
	case l.know.retired[r.id] && busy:
		breaks("invariant 5", "it was retired, and is busy")
	case l.know.retired[r.id]:
	default:
		breaks("invariant 5", "no intent, %s old, not retired; busy: %t", time.Since(born(r.id)), busy)
	}
}

// reason is why a running process may be ended without retiring it.
func (l *Life) reason(r *runner) string {
	lifetime, err := time.ParseDuration(r.labels[provisioner.LabelMaxLifetime])
	if err != nil {
		lifetime = l.w.limits.MaxLifetime
	}
	own := l.know.launches[r.id]
	switch {
	case !l.know.intents[r.id].IsZero():
		return "intent"
	case time.Since(born(r.id)) >= lifetime:
		return "lifetime"
	case l.know.removed[r.id]:
		return "given up"
	case own != nil && own.outcome == uncertain && !own.listed && l.know.last != nil &&
		l.know.last.began.Sub(born(r.id)) >= l.w.limits.LaunchDeadline:
		return "giving up" // a look later than the deadline did not show it
	}
	return ""
}

// reapPatience is how long an ended runner waits for its report.
const reapPatience = 10 * time.Minute

// checkReap checks that an ended runner may go.
func (l *Life) checkReap(r *runner, breaks func(rule, format string, args ...any)) {
	if l.reason(r) != "" || l.know.retired[r.id] || !l.listedAs(r.id, backend.State.Ended) {
		return // it was to be ended, and ended by itself meanwhile
	}
	ended, failed := 0, 0 // as the loop has seen it
	for _, state := range l.know.last.states {
		if state.Ended() {
			ended++
		}
		if state == backend.Failed {
			failed++
		}
	}
	rec, limits := l.w.plane.records[r.id], l.w.limits
	reported := rec == nil || rec.terminal != "" || l.know.rejected[r.id]
	if !reported && time.Since(r.finished) < reapPatience && ended <= max(0, limits.FailedRetentionCount) {
		breaks("reap", "it ended and that was not reported")
	}
	if r.state == backend.Failed && time.Since(r.finished) < limits.FailedRetention && failed <= limits.FailedRetentionCount {
		breaks("reap", "it failed %s ago, and is one of %d", time.Since(r.finished), failed)
	}
}

func (l *Life) listedAs(id string, is func(backend.State) bool) bool {
	return l.know.last != nil && is(l.know.last.states[id])
}

// Inspect searches what the loop says of itself for secrets.
func (l *Life) Inspect(values ...any) {
	for _, v := range values {
		text, err := json.Marshal(v)
		if err != nil {
			l.w.Breaks("inspect", "%T: %v", v, err)
		}
		if canary(string(text)) || canary(fmt.Sprintf("%+v %#v", v, v)) {
			l.w.Breaks("invariant 10", "%T tells a secret", v)
		}
	}
}

// Log is where the loop's log goes: it is searched for secrets.
func (l *Life) Log() *logWriter { return &logWriter{l} }

type logWriter struct{ l *Life }

// Write is io.Writer's.
func (x *logWriter) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	if canary(text) {
		x.l.w.Breaks("invariant 10", "the log tells a secret: %s", text)
		return len(line), nil
	}
	x.l.w.mu.Lock()
	defer x.l.w.mu.Unlock()
	x.l.w.trace.say("log %d: %s", x.l.n, text)
	return len(line), nil
}

// checkRefs checks that facts are asked about all that hold a slot.
func (l *Life) beginFacts(refs []provisioner.Ref) {
	release, alive := l.checking()
	defer release()
	k := &l.know
	if !alive || k.last == nil || k.before == nil {
		return
	}
	asked := map[string]bool{}
	for _, ref := range refs {
		asked[ref.ID] = true
	}
	for _, id := range slices.Sorted(maps.Keys(k.before.states)) {
		r := l.w.engine.runners[id]
		if r == nil || !r.state.HoldsSlot() || r.state == backend.Stopping || k.removed[id] || asked[id] {
			continue
		}
		if k.before.states[id].HoldsSlot() && k.last.states[id].HoldsSlot() && k.last.states[id] != "" {
			l.w.trace.breaks("facts", "life %d asks about %d runners, and leaves out %s", l.n, len(refs), short(id))
		}
	}
}
