package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/slipway-ci/slipway/backend"
)

// Fate is what happens to one call. The zero value is a prompt and true answer.
type Fate struct {
	// Before and After are how long the call takes around its effect.
	Before, After time.Duration
	// Effect says whether and when it has its effect.
	Effect Effect
	// Delay goes with Late: how long after the call began.
	Delay time.Duration
	// Err is answered in place of the truth.
	Err error
	// Hang gives no answer until the ctx ends.
	Hang bool
	// Half, on a launch, creates the runner and does not start it.
	Half bool
	// Twist makes the answer strange; how depends on the call.
	Twist bool
}

// Effect says whether and when a call has its effect.
type Effect int

// The values of Effect.
const (
	Lands Effect = iota
	Never
	Late
)

var (
	errLost = errors.New("sim: the answer is lost")
	errDead = errors.New("sim: this life is over")
)

// deed is one call of the loop's.
type deed struct {
	op, key string
	// effect changes the world, at most once, under its lock.
	effect func(Fate) error
	// await, if any, waits for what the effect began, without the lock.
	await func(ctx context.Context) error
	// told runs under the lock when a true answer reaches the caller.
	told func()
}

// call sends one call through its fate.
func (w *World) call(ctx context.Context, l *Life, d deed) error {
	f, doom, err := w.begin(l, d)
	if err != nil {
		return err
	}
	if doom == doomBefore {
		l.kill()
	}
	if err := w.pause(ctx, l, f.Before); err != nil {
		w.abandon(l, d, f)
		return err
	}
	switch f.Effect {
	case Lands:
		err = w.land(d, f)
	case Late:
		time.AfterFunc(f.Delay, func() { _ = w.land(d, f) })
	}
	if doom == doomAfter {
		l.kill()
	}
	return w.answer(ctx, l, d, f, err)
}

// begin draws the fate of a call.
func (w *World) begin(l *Life, d deed) (Fate, doom, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if l.isDead() {
		w.mu.Unlock()
		time.Sleep(100 * time.Millisecond) // a dead life must not spin
		w.mu.Lock()
		return Fate{}, spared, errDead
	}
	w.pace()
	n := w.counts[d.op+"/"+d.key]
	w.counts[d.op+"/"+d.key]++
	w.counts["all/"+d.op]++
	f := w.fate(d.op, d.key, n)
	w.trace.say("life %d %s %s #%d%s", l.n, d.op, d.key, n, f)
	return f, w.doom(l), nil
}

// abandon decides what becomes of the effect of a call whose caller left
// before it happened: half of them happen all the same, later.
func (w *World) abandon(l *Life, d deed, f Fate) {
	w.mu.Lock()
	t := w.dice.about("abandon", d.op, d.key, w.counts[d.op+"/"+d.key])
	w.mu.Unlock()
	if f.Effect != Never && !w.isCalm() && t.chance(0.5) {
		time.AfterFunc(t.between(0, time.Minute), func() { _ = w.land(d, f) })
	}
}

func (w *World) land(d deed, f Fate) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if d.effect == nil {
		return nil
	}
	return d.effect(f)
}

// answer brings the answer back, if fate lets it.
func (w *World) answer(ctx context.Context, l *Life, d deed, f Fate, err error) error {
	if f.Hang {
		if err := w.wait(ctx, l, w.calmed); err != nil {
			return err
		}
		return fmt.Errorf("%s: %w", d.op, errLost)
	}
	if err == nil && d.await != nil && f.Effect == Lands {
		err = d.await(ctx)
		if ctx.Err() != nil || errors.Is(err, errDead) {
			return err
		}
	}
	if err := w.pause(ctx, l, f.After); err != nil {
		return err
	}
	if f.Err != nil {
		return fmt.Errorf("%s: %w", d.op, f.Err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if l.isDead() {
		return errDead
	}
	if err == nil && d.told != nil {
		d.told()
	}
	if err != nil {
		w.trace.say("life %d %s %s answers %v", l.n, d.op, d.key, err)
	}
	return err
}

// pause waits for d, or until the ctx or the life ends.
func (w *World) pause(ctx context.Context, l *Life, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return fmt.Errorf("sim: %w", ctx.Err())
	case <-l.dead:
		return errDead
	case <-timer.C:
		return nil
	}
}

// wait waits for done, or until the ctx or the life ends.
func (w *World) wait(ctx context.Context, l *Life, done <-chan struct{}) error {
	select {
	case <-ctx.Done():
		return fmt.Errorf("sim: %w", ctx.Err())
	case <-l.dead:
		return errDead
	case <-done:
		return nil
	}
}

// fate is the script's, or drawn from the odds.
func (w *World) fate(op, key string, n int) Fate {
	if w.setup.Script != nil {
		if f := w.setup.Script(op, key, n); f != nil {
			return *f
		}
	}
	t := w.dice.about("fate", op, key, n)
	f := Fate{Before: t.between(0, 20*time.Millisecond), After: t.between(0, 20*time.Millisecond)}
	if w.calm {
		return f
	}
	return draw(t, f, op, w.odds(op))
}

func (w *World) odds(op string) Odds {
	switch op {
	case "launch", "list", "remove", "prepare", "capacity":
		return w.setup.Engine
	}
	return w.setup.Plane
}

// draw throws for the faults of one call.
func draw(t throws, f Fate, op string, o Odds) Fate {
	if t.chance(o.Slow) {
		f.Before = t.between(0, 25*time.Second)
	}
	if t.chance(o.Slow) {
		f.After = t.between(0, 25*time.Second)
	}
	f.Twist = t.chance(o.Twist)
	p := t.Float64()
	for _, c := range []struct {
		odds float64
		set  func()
	}{
		{o.Refuse, func() { f.Effect, f.Err = Never, refusal(t, op) }},
		{o.Drop, func() { f.Effect, f.Err = Never, errLost }},
		{o.Lose, func() { f.Err = errLost; f.Half = t.chance(0.3) }},
		{o.Late, func() { f.Effect, f.Delay, f.Err = Late, t.between(time.Second, 5*time.Minute), errLost }},
		{o.Hang, func() { f.Hang, f.Effect = true, pick(t, Lands, Never) }},
	} {
		if p < c.odds {
			c.set()
			return f
		}
		p -= c.odds
	}
	return f
}

func refusal(t throws, op string) error {
	switch op {
	case "launch":
		return pick(t, backend.ErrExhausted, backend.ErrUnavailable, backend.ErrRefused, backend.ErrInvalid)
	case "list", "remove", "prepare", "capacity":
		return errors.New("engine says no")
	}
	return refusalOfPlane(t, op)
}

// String tells what is out of the ordinary.
func (f Fate) String() string {
	text := ""
	if f.Before > time.Second || f.After > time.Second {
		text += fmt.Sprintf(" slow(%.1fs,%.1fs)", f.Before.Seconds(), f.After.Seconds())
	}
	switch f.Effect {
	case Never:
		text += " never-lands"
	case Late:
		text += fmt.Sprintf(" lands-late(%.0fs)", f.Delay.Seconds())
	}
	if f.Hang {
		text += " hangs"
	}
	if f.Half {
		text += " half"
	}
	if f.Twist {
		text += " twisted"
	}
	if f.Err != nil {
		text += " err(" + f.Err.Error() + ")"
	}
	return text
}
