package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/hub/fleet/placement"
	"github.com/slipway-ci/slipway/internal/wire"
)

var _ backend.Preparer = (*Fleet)(nil)

// flight is a Prepare under way on one host; all who ask for the same wait for it.
type flight struct {
	done chan struct{}
	err  error // written before done is closed
}

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
		err = f.awaitAny(ctx, flights)
	}
	if err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	return nil
}

// leastGrace is how long the others get when the first was ready at once.
const leastGrace = 500 * time.Millisecond

// awaitAny waits for all flights, or a while after the first good one: one host
// that does not answer must not cost the others more time than they took.
func (f *Fleet) awaitAny(ctx context.Context, flights []*flight) error {
	ended, quit := make(chan *flight), make(chan struct{})
	defer close(quit)
	for _, fl := range flights {
		go func() { // ends with us
			select {
			case <-fl.done:
			case <-quit:
				return
			}
			select {
			case ended <- fl:
			case <-quit:
			}
		}()
	}
	var errs []error
	began := time.Now()
	var grace <-chan time.Time // from the first good one on
	for range flights {
		select {
		case fl := <-ended:
			if fl.err != nil {
				errs = append(errs, fl.err)
			} else if grace == nil {
				timer := time.NewTimer(min(f.config.PrepareGrace, max(time.Since(began), leastGrace)))
				defer timer.Stop()
				grace = timer.C
			}
		case <-grace:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if grace != nil {
		return nil
	}
	return errors.Join(errs...)
}

// prepareAll begins on every host that may take such a runner, now or when others
// have ended: where it is full the image is fetched ahead.
func (f *Fleet) prepareAll(ctx context.Context, spec *wire.Spec) ([]*flight, error) {
	now := time.Now()
	f.mu.Lock()
	defer f.unlock()
	if !f.open {
		return nil, fmt.Errorf("the fleet is not running: %w", backend.ErrUnavailable)
	}
	a := f.ask(spec)
	var flights []*flight
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
func (f *Fleet) prepareOn(ctx context.Context, h *host, a *placement.Ask, spec *wire.Spec, runtime string) *flight {
	if fl := h.preparing[a.Kind]; fl != nil {
		return fl
	}
	fl := &flight{done: make(chan struct{})}
	h.preparing[a.Kind] = fl
	h.place.Fetch(a)
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.config.PrepareTimeout)
	sent := *spec
	sent.ID, sent.Env, sent.Labels, sent.Runtime = "", nil, nil, runtime
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
func (f *Fleet) prepared(s *session, a *placement.Ask, fl *flight, err error) {
	h := s.host
	delete(h.preparing, a.Kind)
	if errors.Is(err, errors.ErrUnsupported) {
		err = nil // nothing to fetch there
	}
	h.place.Fetched(a, err == nil && h.session == s)
	if err != nil && h.session == s {
		f.fail(h, a, err, time.Now())
	}
	fl.err = err
	close(fl.done)
}
