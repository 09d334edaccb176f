package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/slipway-ci/slipway/provisioner"
)

// session is the control plane as one life sees it.
type session struct {
	w *World
	l *Life
}

var _ provisioner.ControlPlane = (*session)(nil)

// ControlPlane is the control plane for this life, with the abilities that the
// setup says.
func (l *Life) ControlPlane() provisioner.ControlPlane {
	s := &session{l.w, l}
	a, k, r, c := &announcer{s}, &knower{s}, &retirer{s}, &closer{s}
	set := l.w.setup
	switch {
	case set.Announce && set.Facts && set.Retire:
		return struct {
			*session
			*announcer
			*knower
			*retirer
			*closer
		}{s, a, k, r, c}
	case set.Announce && set.Facts:
		return struct {
			*session
			*announcer
			*knower
			*closer
		}{s, a, k, c}
	case set.Announce && set.Retire:
		return struct {
			*session
			*announcer
			*retirer
		}{s, a, r}
	case set.Facts && set.Retire:
		return struct {
			*session
			*knower
			*retirer
		}{s, k, r}
	case set.Announce:
		return struct {
			*session
			*announcer
		}{s, a}
	case set.Retire:
		return struct {
			*session
			*retirer
		}{s, r}
	case set.Facts:
		return struct {
			*session
			*knower
		}{s, k}
	}
	return s
}

// refusalOfPlane is a definite error of a control plane's call.
func refusalOfPlane(t throws, op string) error {
	no := errors.New("control plane says no")
	switch op {
	case "announce":
		return pick(t, no, provisioner.ErrRefused)
	case "report":
		return pick(t, no, provisioner.ErrRejected)
	}
	return no
}

// send is call, behind the credential.
func (s *session) send(ctx context.Context, d deed) error {
	effect := d.effect
	d.effect = func(f Fate) error {
		if s.w.plane.locked {
			return provisioner.ErrUnauthorized
		}
		return effect(f)
	}
	return s.w.call(ctx, s.l, d)
}

// Identify is provisioner.ControlPlane's.
func (s *session) Identify(ctx context.Context) (provisioner.Identity, error) {
	err := s.send(ctx, deed{op: "identify", effect: func(Fate) error { return nil }})
	return provisioner.Identity{ID: owner, Scope: "workspace", Workspace: "w"}, err
}

// Poll is provisioner.ControlPlane's.
func (s *session) Poll(ctx context.Context, ad provisioner.Advertisement) (provisioner.Demand, error) {
	s.l.beginPoll(ad)
	defer s.l.endPoll()
	var (
		d       provisioner.Demand
		changed <-chan struct{}
		ready   bool
		began   = time.Now()
	)
	look := func(f Fate) error {
		d, ready = s.w.plane.demand(ad, time.Since(began) >= ad.Wait)
		changed = s.w.plane.changed
		if ready && f.Twist {
			d = s.w.plane.twist(d)
		}
		return nil
	}
	err := s.send(ctx, deed{
		op: "poll", effect: look,
		await: func(ctx context.Context) error {
			for !ready {
				if err := s.listen(ctx, changed, began.Add(ad.Wait)); err != nil {
					return err
				}
				if err := s.look(look); err != nil {
					return err
				}
			}
			return nil
		},
		told: func() { s.l.polled(d) },
	})
	if err != nil {
		s.hangUp(ctx, d.Grants)
		return provisioner.Demand{}, err
	}
	return d, nil
}

// hangUp is what the control plane does when the caller of a poll goes away
// before its answer: if it notices, it takes back what it promised.
func (s *session) hangUp(ctx context.Context, promised []provisioner.Grant) {
	w := s.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if ctx.Err() == nil && !s.l.isDead() {
		return
	}
	for _, p := range promised {
		g := w.plane.grants[p.Reservation]
		if _, told := s.l.know.grants[p.Reservation]; told {
			continue // in an answer before
		}
		if g != nil && (w.setup.Plane == (Odds{}) || w.dice.about("hang up", g.id).chance(0.7)) {
			g.expires = time.Now()
		}
	}
	w.plane.turn()
}

// look looks once more.
func (s *session) look(look func(Fate) error) error {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if s.w.plane.locked {
		return provisioner.ErrUnauthorized
	}
	return look(Fate{})
}

// listen waits for a change, or until a poll's wait is over.
func (s *session) listen(ctx context.Context, changed <-chan struct{}, until time.Time) error {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-changed:
		return s.w.pause(ctx, s.l, time.Millisecond)
	case <-ctx.Done():
		return fmt.Errorf("sim: poll: %w", ctx.Err())
	case <-s.l.dead:
		return errDead
	}
}

// twist makes the answer to a poll strange: what was said before is said again,
// with strangers and nonsense.
func (p *plane) twist(d provisioner.Demand) provisioner.Demand {
	again := p.last
	p.last = d
	d.Grants = append(append([]provisioner.Grant(nil), d.Grants...), again.Grants...)
	d.Grants = append(d.Grants, provisioner.Grant{Reservation: "res-none", Labels: []string{"nobody-has-this"}, Count: 1, Lifetime: time.Minute})
	d.Facts = append(append([]provisioner.Fact(nil), d.Facts...), again.Facts...)
	d.Facts = append(d.Facts, provisioner.Fact{Runner: "00dc6acf-ac00-7000-8000-000000000000", Unwanted: true, Reason: "stranger"})
	if len(d.Targets) > 0 {
		d.Targets = append(d.Targets, provisioner.Target{Template: "no-such-template", Count: 7})
	}
	return d
}

// Mint is provisioner.ControlPlane's.
func (s *session) Mint(ctx context.Context, requests []provisioner.MintRequest) ([]provisioner.Registration, error) {
	s.l.beginMint(requests)
	requests = slices.Clone(requests)
	key := ""
	if len(requests) > 0 {
		key = requests[0].Template
	}
	var made []provisioner.Registration
	err := s.send(ctx, deed{
		op: "mint", key: key,
		effect: func(f Fate) error {
			if len(requests) > 0 && requests[0].Reservation == "" && !s.w.setup.Warm {
				return fmt.Errorf("sim: warm: %w", errors.ErrUnsupported)
			}
			made = s.w.plane.mint(requests)
			if f.Twist && len(made) > 0 {
				made = append(made, made[0], provisioner.Registration{Runner: "00dc6acf-ac00-7000-8000-00000000000f"})
			}
			return nil
		},
		told: func() { s.l.minted(requests, made) },
	})
	if err != nil {
		s.l.unminted(requests)
		return nil, err
	}
	return made, nil
}

// Report is provisioner.ControlPlane's.
func (s *session) Report(ctx context.Context, events []provisioner.Event) error {
	events = slices.Clone(events)
	s.l.beginReport(events)
	err := s.send(ctx, deed{
		op:     "report",
		effect: func(Fate) error { s.w.plane.reported(events); return nil },
		told:   func() { s.l.accepted(events) },
	})
	s.l.endReport(events, err)
	return err
}

// reported is the effect of a report.
func (p *plane) reported(events []provisioner.Event) {
	for _, e := range events {
		rec := p.records[e.Runner]
		if rec == nil {
			continue
		}
		p.heard[e.State]++
		if e.State.Terminal() {
			rec.terminal = e.State
			if rec.job == nil {
				p.settle(rec)
			}
		}
	}
	p.turn()
}

type announcer struct{ s *session }

// Announce is provisioner.Announcer's.
func (x *announcer) Announce(ctx context.Context, ref provisioner.Ref) error {
	s := x.s
	return s.send(ctx, deed{
		op: "announce", key: ref.Labels[provisioner.LabelTemplate],
		effect: func(Fate) error {
			if rec := s.w.plane.records[ref.ID]; rec == nil {
				return provisioner.ErrRefused
			}
			return nil
		},
		told: func() { s.l.know.announced[ref.ID] = true },
	})
}

type knower struct{ s *session }

// Facts is provisioner.Knower's.
func (x *knower) Facts(ctx context.Context, refs []provisioner.Ref) ([]provisioner.Fact, error) {
	s := x.s
	s.l.beginFacts(refs)
	var facts []provisioner.Fact
	err := s.send(ctx, deed{
		op: "facts",
		effect: func(f Fate) error {
			for i, ref := range refs {
				if rec := s.w.plane.records[ref.ID]; rec != nil && !(f.Twist && i%2 == 0) {
					facts = append(facts, rec.fact())
				}
			}
			return nil
		},
		told: func() { s.l.learned(facts) },
	})
	if err != nil {
		return nil, err
	}
	return facts, nil
}

type retirer struct{ s *session }

// Retire is provisioner.Retirer's.
func (x *retirer) Retire(ctx context.Context, refs []provisioner.Ref) ([]string, error) {
	s := x.s
	s.l.beginRetire(refs)
	var retired []string
	key := ""
	if len(refs) > 0 {
		key = refs[0].Labels[provisioner.LabelTemplate]
	}
	err := s.send(ctx, deed{
		op: "retire", key: key,
		effect: func(Fate) error { retired = s.w.plane.retire(refs); return nil },
		told: func() {
			for _, id := range retired {
				s.w.trace.say("life %d is told that %s is retired", s.l.n, short(id))
				s.l.know.retired[id] = true
			}
		},
	})
	if err != nil {
		return nil, err
	}
	return retired, nil
}

type closer struct{ s *session }

// Close is provisioner.Closer's.
func (x *closer) Close(ctx context.Context) error {
	x.s.l.beginClose()
	return x.s.send(ctx, deed{op: "close", effect: func(Fate) error { return nil }})
}
