package hosts

import (
	"context"
	"errors"
	"time"

	"github.com/slipway-ci/slipway/hub/hosts/rollout"
)

// sweepInterval is how often enrolments are deleted that are long over.
const sweepInterval = time.Hour

// Run carries out drains and updates, and writes who was seen, until ctx ends;
// then it writes that a last time and returns nil.
func (r *Registry) Run(ctx context.Context) error {
	defer r.rollouts.Wait()
	var flushed, swept time.Time
	for {
		pending, err := r.work(ctx)
		now := time.Now()
		if now.Sub(flushed) >= r.cfg.SightingInterval {
			flushed = now
			err = errors.Join(err, r.flush(ctx))
		}
		if now.Sub(swept) >= sweepInterval {
			swept = now
			err = errors.Join(err, r.write(ctx, (*tx).sweepEnrolments))
		}
		if err != nil && ctx.Err() == nil {
			r.log.Error("look at the hosts", "err", redacted(err))
		}
		if !r.rest(ctx, pending || err != nil, flushed) {
			return r.last(ctx)
		}
	}
}

// rest waits until there is something to do; false: ctx has ended. What comes in
// between two looks waits for the next of them.
func (r *Registry) rest(ctx context.Context, pending bool, flushed time.Time) bool {
	pace := time.NewTimer(r.cfg.Pace)
	defer pace.Stop()
	select {
	case <-pace.C:
	case <-ctx.Done():
		return false
	}
	if pending {
		return true
	}
	idle := time.NewTimer(max(0, time.Until(flushed.Add(r.cfg.SightingInterval))))
	defer idle.Stop()
	select {
	case <-r.poked:
	case <-idle.C:
	case <-ctx.Done():
		return false
	}
	return true
}

// work is one look at the drains and the updates; pending: look again soon.
func (r *Registry) work(ctx context.Context) (pending bool, err error) {
	states := r.states()
	draining, err := r.drains(ctx, states)
	updating, err2 := r.rollouts.Look(ctx, r.updater(), states)
	return draining || updating, errors.Join(err, err2)
}

// updater is the fleet, as rollouts need it; nil: not there yet.
func (r *Registry) updater() rollout.Fleet {
	if f := r.bound(); f != nil {
		return f
	}
	return nil
}

// last writes who was seen, once more.
func (r *Registry) last(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), applyTimeout)
	defer cancel()
	if err := r.flush(ctx); err != nil {
		r.log.Warn("write who was seen", "err", redacted(err))
	}
	return nil
}
