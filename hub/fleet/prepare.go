package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/hub/fleet/flight"
	"github.com/slipway-ci/slipway/hub/fleet/placement"
	"github.com/slipway-ci/slipway/internal/wire"
)

var _ backend.Preparer = (*Fleet)(nil)

// Prepare is backend.Preparer's, on every host that may get such a runner now.
// It returns when all have answered, or a while (Config.PrepareGrace) after the
// first was ready: the others go on, and a host that is still fetching is passed
// over meanwhile.
func (f *Fleet) Prepare(ctx context.Context, spec backend.Spec) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	sent, err := f.sendable(ctx, spec)
	if err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	flights, err := f.prepareAll(ctx, sent)
	if err == nil {
		err = flight.Await(ctx, flights, f.config.PrepareGrace)
	}
	if err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	return nil
}

// prepareAll begins on every host that may take such a runner, now or when others
// have ended: where it is full the image is fetched ahead.
func (f *Fleet) prepareAll(ctx context.Context, spec *wire.Spec) ([]*flight.Flight, error) {
	now := time.Now()
	f.mu.Lock()
	defer f.unlock()
	if !f.open {
		return nil, fmt.Errorf("the fleet is not running: %w", backend.ErrUnavailable)
	}
	a := f.ask(spec)
	var flights []*flight.Flight
	counts := placement.Obstacles{}
	for _, h := range f.order {
		look := h.look()
		if _, o := f.placer.Judge(look, a, now); o != "" && !o.OfRoom() {
			counts[o]++
			continue
		}
		runtime, _ := f.placer.Runtime(look, a)
		flights = append(flights, f.prepareOn(ctx, h, a, spec, runtime))
	}
	if len(flights) == 0 {
		return nil, counts.Err()
	}
	return flights, nil
}

// prepareOn begins a Prepare on one host, or joins the one under way. It outlives
// its callers: the next may join. The lock is held.
func (f *Fleet) prepareOn(ctx context.Context, h *host, a *placement.Ask, spec *wire.Spec, runtime string) *flight.Flight {
	if fl := h.preparing[a.Kind]; fl != nil {
		return fl
	}
	fl := flight.New()
	h.preparing[a.Kind] = fl
	h.place.Fetch(a)
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.config.PrepareTimeout)
	sent := *spec
	sent.ID, sent.Env, sent.Labels, sent.Runtime = "", nil, nil, runtime
	h.gives(spec.Credential)
	s := h.session
	c, err := s.begin(f.config.PrepareTimeout, wire.Frame{Type: wire.Prepare, Spec: &sent}, nil)
	f.tasks.Go(func() {
		defer cancel()
		if err == nil {
			err = s.await(limited, c)
		}
		f.mu.Lock()
		defer f.unlock()
		f.prepared(s, a, fl, err)
	})
	return fl
}

// prepared applies what came of a Prepare. The lock is held.
func (f *Fleet) prepared(s *session, a *placement.Ask, fl *flight.Flight, err error) {
	h := s.host
	delete(h.preparing, a.Kind)
	if errors.Is(err, errors.ErrUnsupported) {
		err = nil // nothing to fetch there
	}
	h.place.Fetched(a, err == nil && h.session == s)
	if err != nil && h.session == s {
		f.fail(h, a, err, time.Now())
	}
	fl.Land(err)
	f.notify()
}
