package agent

import (
	"cmp"
	"context"
	"fmt"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/internal/wire"
)

// Most requests of each kind that are served at once. Beyond that they are
// refused, definitely: the hub sends them elsewhere, or later.
var bounds = map[wire.Type]int{wire.Launch: 256, wire.Remove: 256, wire.Prepare: 16, wire.Logs: 8, wire.Rotate: 1, wire.Update: 1, wire.Stats: 1}

// take does what a frame asks for, in a goroutine of its own. Requests of one
// session end with it (alive), but for those that change something: these end with
// the agent (ctx) or at their deadline.
func (a *Agent) take(ctx, alive context.Context, s *session, f wire.Frame) error {
	switch f.Type {
	case wire.Launch:
		a.takeLaunch(ctx, s, f)
	case wire.Remove:
		a.serve(ctx, s, f, func(ctx context.Context, t *ticket) (answer func()) {
			err := a.remove(ctx, t, f.Runner)
			return func() {
				a.mirror.removeEnded(s, f.ID, f.Runner, err)
				a.poke()
			}
		})
	case wire.Prepare:
		a.serve(alive, s, f, func(ctx context.Context, _ *ticket) (answer func()) {
			err := backend.Prepare(ctx, a.config.Backend, f.Spec.Backend())
			return func() { s.answer(f.ID, err) }
		})
	case wire.Logs:
		a.serve(alive, s, f, func(ctx context.Context, _ *ticket) (answer func()) { return a.logs(ctx, s, f) })
	case wire.List:
		a.mirror.relist()
		a.poke()
		s.answer(f.ID, nil)
	case wire.Cancel:
		a.work.cancel(s, f.ID)
	case wire.Rotate:
		a.serve(ctx, s, f, func(ctx context.Context, _ *ticket) (answer func()) { return a.rotate(ctx, s, f) })
	case wire.Update:
		a.serve(ctx, s, f, func(ctx context.Context, _ *ticket) (answer func()) { return a.update(ctx, s, f) })
	case wire.Stats:
		a.serve(alive, s, f, func(ctx context.Context, _ *ticket) (answer func()) { return a.stats(ctx, s, f) })
	default:
		return a.takeOther(s, f)
	}
	return nil
}

// takeLittle is all that is done for a hub too far apart.
func (a *Agent) takeLittle(ctx context.Context, s *session, f wire.Frame) error {
	if f.Type == wire.Update {
		return a.take(ctx, ctx, s, f)
	}
	return s.pong(f)
}

// takeOther is for frames that are no request of this version. One that has an
// id is answered, so that a later hub does not wait.
func (a *Agent) takeOther(s *session, f wire.Frame) error {
	known := f.Type == wire.Ping || f.Type == wire.Bye
	if !known && f.ID != 0 {
		s.answer(f.ID, fmt.Errorf("agent: unknown request: %w", errUnsupported))
	}
	return s.pong(f)
}

func (s *session) answer(id uint64, err error) {
	s.send(wire.Frame{Type: wire.Answer, ID: id, Error: wire.FromError(err)})
}

// serve runs do with the request's deadline, unless too many of its kind run. A
// launch or a removal has its place in its runner's queue before the next frame
// is read. do returns what answers: by then the request's place is free, so whoever
// has the answer may ask again.
func (a *Agent) serve(ctx context.Context, s *session, f wire.Frame, do func(context.Context, *ticket) (answer func())) bool {
	if !a.work.begin(f.Type) {
		s.answer(f.ID, fmt.Errorf("agent: too many requests at once: %w", backend.ErrUnavailable))
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(f.Timeout(), a.config.CallTimeout))
	a.work.started(s, f.ID, cancel)
	var t *ticket
	switch f.Type {
	case wire.Launch:
		t = a.work.join(f.Spec.ID, cancel)
	case wire.Remove:
		t = a.work.cutOff(f.Runner)
	}
	a.deeds.Go(func() {
		defer cancel()
		answer := do(ctx, t)
		a.work.ended(s, f)
		answer()
	})
	return true
}

func (a *Agent) takeLaunch(ctx context.Context, s *session, f wire.Frame) {
	id := f.Spec.ID
	a.mirror.launchBegins(id)
	served := a.serve(ctx, s, f, func(ctx context.Context, t *ticket) (answer func()) {
		err := a.launch(ctx, t, f.Spec.Backend())
		return func() {
			a.mirror.launchEnded(s, f.ID, id, err, isUnavailable(err))
			a.poke()
		}
	})
	if !served {
		a.mirror.launchDropped(id)
	}
}

// launch launches, one at a time per runner: two requests for one id, from two
// sessions even, never meet in the backend.
func (a *Agent) launch(ctx context.Context, t *ticket, spec backend.Spec) error {
	defer t.leave()
	if err := t.wait(ctx); err != nil {
		return fmt.Errorf("launch %s: it has not begun: %w", spec.ID, err)
	}
	a.log.Info("launch", "runner", spec.ID)
	return a.config.Backend.Launch(ctx, spec)
}

// remove waits for the launches that its ticket has cut off and then removes the
// runner, so that none of them comes after it.
func (a *Agent) remove(ctx context.Context, t *ticket, id string) error {
	defer t.leave()
	if err := t.wait(ctx); err != nil {
		return fmt.Errorf("remove %s: a launch is still under way: %w", id, err)
	}
	a.log.Info("remove", "runner", id)
	return a.config.Backend.Remove(ctx, id)
}
