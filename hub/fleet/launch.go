package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/hub/fleet/placement"
	"github.com/slipway-ci/slipway/hub/fleet/records"
	"github.com/slipway-ci/slipway/internal/wire"
	"github.com/slipway-ci/slipway/provisioner"
)

// launch is one Launch under way.
type launch struct {
	spec  *wire.Spec // with a credential, where there is one: it goes with the launch
	ask   *placement.Ask
	tried map[string]bool // hosts, by id
	// refusals is how many of them said that it can't be.
	refusals int
}

// Launch is backend.Backend's. A new id goes to the next host that may take it;
// one that was sent to a host before goes to that host alone. A host that
// definitely could not take it for a reason of its own (no room, no engine) is
// followed by the next.
func (f *Fleet) Launch(ctx context.Context, spec backend.Spec) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("launch %s: %w", spec.ID, err)
	}
	ctx, cancel := context.WithTimeout(ctx, f.config.CallTimeout)
	defer cancel()
	sent, err := f.sendable(ctx, spec)
	if err == nil && spec.ID == "" {
		err = fmt.Errorf("field ID is empty: %w", backend.ErrInvalid)
	}
	if err != nil {
		return fmt.Errorf("launch %s: %w", spec.ID, err)
	}
	l := &launch{spec: sent, tried: map[string]bool{}}
	var last error
	for {
		r, err := f.assign(l)
		if err != nil {
			return fmt.Errorf("launch %s: %w", spec.ID, cmp.Or(last, err)) // the host's own words say more than that there is no other
		}
		err = f.launchOn(ctx, r, l)
		if errors.Is(err, ErrOffline) {
			err = f.decide(ctx, r, err)
		}
		if err == nil {
			return nil
		}
		if !l.elsewhere(err) || ctx.Err() != nil {
			return fmt.Errorf("launch %s: %w", spec.ID, err)
		}
		l.tried[r.host.ID], last = true, err
	}
}

// mostRefusals is how many hosts may say of one launch that it can't be: one may be
// wrong, or lie, and a spec that is wrong is not to be tried on all of them.
const mostRefusals = 3

// elsewhere says whether a launch that has ended so on a host may go to another:
// nothing was or will be started there.
func (l *launch) elsewhere(err error) bool {
	switch {
	case errors.Is(err, backend.ErrExhausted), errors.Is(err, backend.ErrUnavailable):
		return true
	case errors.Is(err, backend.ErrInvalid), errors.Is(err, backend.ErrRefused):
		l.refusals++
		return l.refusals < mostRefusals
	}
	return false
}

// sendable makes the spec that is sent, with the credential for its image.
func (f *Fleet) sendable(ctx context.Context, spec backend.Spec) (*wire.Spec, error) {
	sent, err := wire.FromSpec(spec)
	switch {
	case err != nil:
		return nil, err
	case len(spec.GPUIDs) > 0:
		return nil, fmt.Errorf("field GPUIDs is the fleet's to set: %w", backend.ErrInvalid)
	case spec.Labels[records.LabelShare] != "":
		return nil, fmt.Errorf("field Labels: %s is the fleet's to set: %w", records.LabelShare, backend.ErrInvalid)
	case sent.Credential != nil || f.config.Credential == nil:
		return sent, nil
	}
	c, err := f.config.Credential(ctx, spec.Labels[provisioner.LabelTemplate], spec.Image)
	if err == nil {
		sent.Credential, err = wire.FromCredential(c)
	}
	if err != nil {
		return nil, fmt.Errorf("its registry credential can't be had: %w: %w", errNotSent, plain(err))
	}
	return sent, nil
}

// assign finds or makes the record of a launch, and counts the launch as under
// way.
func (f *Fleet) assign(l *launch) (*record, error) {
	f.mu.Lock()
	defer f.unlock()
	if !f.open {
		return nil, fmt.Errorf("the fleet is not running: %w", backend.ErrUnavailable)
	}
	now := time.Now()
	l.ask = f.ask(l.spec)
	r := f.runners[l.spec.ID]
	var err error
	switch {
	case r == nil:
		r, err = f.assignNew(l, now)
	case r.doomed || r.removal != nil:
		err = fmt.Errorf("%w: it is to be removed from host %s", ErrOffline, r.host.name())
	case !r.host.reachable():
		err = fmt.Errorf("%w: %s, where it was sent before", ErrOffline, r.host.name())
	case l.tried[r.host.ID]:
		err = fmt.Errorf("host %s could not take it: %w", r.host.name(), backend.ErrUnavailable)
	case !r.known() && !r.holds(): // nothing came of it before: it takes up room anew
		err = f.assignAnew(r, l, now)
	}
	if err != nil {
		return nil, err
	}
	if r.calls == 0 {
		r.asked = now
	}
	r.calls++
	r.touch()
	return r, nil
}

// assignNew makes the record on the host whose turn it is.
func (f *Fleet) assignNew(l *launch, now time.Time) (*record, error) {
	chosen, err := f.placer.Choose(f.looks, l.ask, l.tried, now)
	if err != nil {
		return nil, err
	}
	r := newRecord(l.spec.ID, f.hosts[chosen.ID], l.spec.Labels, chosen.Share(l.spec))
	r.created = now.UTC()
	f.put(r)
	return r, nil
}

// assignAnew gives a launch that has made nothing its room on its host again.
func (f *Fleet) assignAnew(r *record, l *launch, now time.Time) error {
	look := r.host.look()
	if _, obstacle := f.placer.Judge(look, l.ask, now); obstacle != "" {
		return fmt.Errorf("host %s, where it was sent before, is %s: %w", r.host.name(), obstacle, backend.ErrExhausted)
	}
	r.share, r.created = look.Share(l.spec), now.UTC()
	return nil
}

// frame is the launch as it is sent to the record's host. The lock is held.
func (f *Fleet) frame(r *record, l *launch) (wire.Frame, error) {
	runtime, ok := f.placer.Runtime(r.host.place, l.ask)
	if !ok {
		return wire.Frame{}, fmt.Errorf("host %s: %w: it is %s", r.host.name(), errNotSent, placement.NoRuntime)
	}
	spec := *l.spec
	r.host.gives(spec.Credential)
	spec.Runtime, spec.GPUIDs, spec.Labels = runtime, r.share.GPUs, f.sealer.Seal(r.host.ID, r.id, records.Stamp(spec.Labels, r.share))
	return wire.Frame{Type: wire.Launch, Spec: &spec}, nil
}

// decide turns a launch that is uncertain, since the connection has ended, into what
// the host's next full list says of it; without one (Config.DecideWithin) it stays uncertain.
func (f *Fleet) decide(ctx context.Context, r *record, uncertain error) error {
	ctx, cancel := context.WithTimeout(ctx, f.config.DecideWithin)
	defer cancel()
	for {
		f.mu.Lock()
		mine, made, nothing, changed := f.runners[r.id] == r, r.seen != nil, !r.absent.IsZero() && r.calls == 0, f.changed
		f.unlock()
		switch {
		case !mine:
			return uncertain
		case made:
			return nil
		case nothing:
			return fmt.Errorf("%w, and made nothing: %w", plain(uncertain), backend.ErrUnavailable)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return uncertain
		}
	}
}

// launchOn writes the record, then sends the launch, then waits for the answer.
func (f *Fleet) launchOn(ctx context.Context, r *record, l *launch) error {
	if err := f.saver.Save(r.id).Wait(ctx); err != nil {
		err = fmt.Errorf("its record is not written: %w: %w", errNotSent, plain(err))
		f.mu.Lock()
		defer f.unlock()
		f.launched(r, l.ask, err)
		return err
	}
	f.mu.Lock()
	s := r.host.session
	var c *call
	err := fmt.Errorf("host %s: %w: offline", r.host.name(), errNotSent)
	if f.runners[r.id] == r && r.host.reachable() {
		var frame wire.Frame
		if frame, err = f.frame(r, l); err == nil {
			began, limit := time.Now(), limitOf(ctx)
			c, err = s.begin(limit, frame, func(err error) {
				if errors.Is(err, context.DeadlineExceeded) && limit > time.Second && time.Since(began) < limit/2 {
					err = plain(err) // its time was not over: the host only says so
				}
				f.launched(r, l.ask, err)
			})
		}
	}
	if err != nil {
		f.launched(r, l.ask, err)
	}
	f.unlock()
	if err != nil {
		return err
	}
	return s.await(ctx, c)
}

// launched applies what came of one launch. The lock is held.
func (f *Fleet) launched(r *record, a *placement.Ask, err error) {
	r.calls--
	h, now := r.host, time.Now()
	switch {
	case err == nil || errors.Is(err, backend.ErrExists):
		f.placer.Answered(now.Sub(r.asked))
		r.uncertain, r.absent = false, time.Time{}
		if r.seen == nil {
			r.seen = &wire.Runner{ID: r.id, Labels: r.labels, State: backend.Starting}
		}
		h.place.Launched(a, r.id)
	case backend.IsDefinite(err):
		if h.session != nil && !errors.Is(err, errNotSent) {
			f.fail(h, a, err, now)
		}
	default:
		r.uncertain = r.seen == nil
		// Said by the host, and not because it was cut off or its time was over.
		said := !errors.Is(err, ErrOffline) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
		unwanted := r.doomed || r.removal != nil || r.dropped // a removal cuts launches off
		if (said || now.Sub(r.asked) >= f.config.SlowAfter) && h.session != nil && !unwanted {
			f.fail(h, a, err, now)
		}
	}
	r.touch()
	if r.calls == 0 && !r.known() && !r.uncertain && r.absent.IsZero() {
		f.drop(r)
	}
	f.notify()
}
