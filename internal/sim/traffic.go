package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/provisioner"
)

// listSpacing is the least time between two Lists.
const listSpacing = 100 * time.Millisecond

func (l *Life) beginList() {
	release, alive := l.checking()
	defer release()
	if !alive {
		return
	}
	if gap := time.Since(l.know.listBegan); gap < listSpacing {
		l.w.trace.breaks("pace", "life %d lists twice within %s", l.n, gap)
	}
	l.know.listBegan = time.Now()
}

// pollWindow and pollBound: more fruitless polls than that in so short a time
// are a loop that spins.
const (
	pollWindow = 10 * time.Second
	pollBound  = 15
)

// beginPoll checks what is advertised.
func (l *Life) beginPoll(ad provisioner.Advertisement) {
	release, alive := l.checking()
	defer release()
	if !alive {
		return
	}
	k, now := &l.know, time.Now()
	breaks := func(rule, format string, args ...any) {
		l.w.trace.breaks(rule, "life %d polls: %s", l.n, fmt.Sprintf(format, args...))
	}
	if k.polling {
		breaks("polls", "while another is under way")
	}
	k.polling = true
	if !l.stopped.IsZero() && now.Sub(l.stopped) >= settled {
		breaks("stop", "%s after the stop", now.Sub(l.stopped))
	}
	if !k.news {
		k.polls = append(k.polls, now)
	}
	for len(k.polls) > 0 && now.Sub(k.polls[0]) > pollWindow {
		k.polls = k.polls[1:]
	}
	if len(k.polls) > pollBound {
		breaks("pace", "%d times in %s without news", len(k.polls), pollWindow)
	}
	k.news = false
	l.checkSlots(ad, breaks)
}

func (l *Life) checkSlots(ad provisioner.Advertisement, breaks func(rule, format string, args ...any)) {
	text := ""
	for _, s := range ad.Templates {
		text += fmt.Sprintf(" %s:%d/%d/%d", s.Template, s.Free, s.Starting, s.Running)
		most, ok := l.w.most(s.Template)
		if !ok {
			breaks("adverts", "there is no template %s", s.Template)
		}
		if live := l.live(s.Template, ""); s.Free < 0 || s.Free > max(0, most-live) {
			breaks("adverts", "%d of %s are free, with %d live of %d", s.Free, s.Template, live, most)
		}
	}
	k := &l.know
	blind := k.last == nil || !k.failed.IsZero() && time.Since(k.failed) >= settled
	if blind && ad.Free() > 0 {
		breaks("invariant 3", "%d are free where nothing can be observed", ad.Free())
	}
	l.w.plane.advert = ad
	l.w.trace.say("life %d advertises%s", l.n, text)
}

func (l *Life) endPoll() {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	l.know.polling = false
}

// beginMint checks what registrations are asked for.
func (l *Life) beginMint(requests []provisioner.MintRequest) {
	release, alive := l.checking()
	defer release()
	if !alive {
		return
	}
	k := &l.know
	breaks := func(rule, format string, args ...any) {
		l.w.trace.breaks(rule, "life %d mints: %s", l.n, fmt.Sprintf(format, args...))
	}
	if len(requests) == 0 {
		breaks("mint", "nothing is asked for")
	}
	for _, q := range requests {
		t, known := l.w.setup.template(q.Template)
		g, granted := k.grants[q.Reservation]
		switch {
		case q.Reservation != requests[0].Reservation:
			breaks("mint", "two reservations in one batch")
		case q.Reservation != "" && !granted:
			breaks("mint", "%s was never told", q.Reservation)
		case q.Reservation != "" && time.Now().After(g.expires):
			breaks("mint", "%s expired %s ago", q.Reservation, time.Since(g.expires))
		case known && l.w.setup.Prepare && !k.prepared[t.Image]:
			breaks("order", "for %s, before its image is there", q.Template)
		case known && !slices.Equal(q.Labels, t.Labels):
			breaks("mint", "labels %v of template %s", q.Labels, q.Template)
		}
		if g.asked++; granted {
			k.grants[q.Reservation] = g
		}
		if granted && g.asked > g.count {
			breaks("grants", "%s is good for %d runners", q.Reservation, g.count)
		}
		k.mints[q.Runner] = &mintTold{began: time.Now(), template: q.Template, grant: q.Reservation}
	}
}

// beginReport checks what is reported.
func (l *Life) beginReport(events []provisioner.Event) {
	release, alive := l.checking()
	defer release()
	if !alive {
		return
	}
	if len(events) == 0 || len(events) > 1000 {
		l.w.trace.breaks("reports", "life %d reports %d events", l.n, len(events))
	}
	for _, e := range events {
		l.checkEvent(e)
	}
}

func (l *Life) checkEvent(e provisioner.Event) {
	w, k := l.w, &l.know
	breaks := func(format string, args ...any) {
		w.trace.breaks("reports", "life %d reports %s %s: %s", l.n, short(e.Runner), e.State, fmt.Sprintf(format, args...))
	}
	again := k.tries[eventKey{e.Runner, e.State, e.At}]
	k.tries[eventKey{e.Runner, e.State, e.At}] = true
	if k.hopeless[eventKey{e.Runner, e.State, e.At}] {
		breaks("it was rejected before")
	}
	was := w.lastAt[e.Runner]
	rivals := was.by != nil && was.by != l && !was.by.isDead() && was.by.stopped.IsZero()
	if !again && !rivals && e.At.Before(was.at) {
		breaks("its time goes back by %s", was.at.Sub(e.At))
	}
	if e.At.After(was.at) {
		w.lastAt[e.Runner] = sentAt{e.At, l}
	}
	if e.At.IsZero() || e.At.After(time.Now()) {
		breaks("its time is %s", e.At)
	}
	if sent := k.sent[e.Runner]; sent != "" && sent != e.State && !again {
		breaks("after %s", sent)
	}
	if e.State.Terminal() {
		k.sent[e.Runner] = e.State
	}
	accepted, ok := k.accepted[e.Runner]
	switch gap := e.At.Sub(accepted.at); {
	case !ok || accepted.state != e.State:
	case e.State.Terminal():
		breaks("it was accepted before")
	case w.limits.KeepAlive < 0 || gap < w.limits.KeepAlive-time.Second:
		breaks("it was accepted %s before", gap)
	}
	r := w.engine.runners[e.Runner]
	alive := r != nil && r.state.HoldsSlot() && !r.half && r.state != backend.Stopping
	if e.State.Terminal() && alive && !k.removed[e.Runner] {
		breaks("its process lives")
	}
	if e.Labels[provisioner.LabelTemplate] == "" && w.plane.records[e.Runner] != nil {
		breaks("it has no labels")
	}
	if canary(fmt.Sprintf("%+v", e)) {
		w.trace.breaks("invariant 10", "an event tells a secret: %s", e.Reason)
	}
	w.trace.say("life %d reports %s %s %s", l.n, short(e.Runner), e.State, e.Reason)
}

// tried checks that the same is not tried over and over without a pause.
func (l *Life) tried(deed, id string) {
	const window, bound = 2 * time.Second, 4
	key, now := deed+" "+id, time.Now()
	times := append(l.know.tried[key], now)
	for now.Sub(times[0]) > window {
		times = times[1:]
	}
	l.know.tried[key] = times
	if len(times) > bound {
		l.w.trace.breaks("pace", "life %d tries to %s %s %d times in %s", l.n, deed, short(id), len(times), window)
	}
}

// beginRetire checks who is retired.
func (l *Life) beginRetire(refs []provisioner.Ref) {
	release, alive := l.checking()
	defer release()
	if !alive {
		return
	}
	for _, ref := range refs {
		l.tried("retire", ref.ID)
	}
}

func (l *Life) beginClose() {
	release, alive := l.checking()
	defer release()
	if alive && (l.know.closed || l.know.polling) {
		l.w.trace.breaks("stop", "life %d closes twice, or while it polls", l.n)
	}
	l.know.closed = true
}
