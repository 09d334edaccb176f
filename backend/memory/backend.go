package memory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/slipway-ci/slipway/backend"
)

var _ backend.Backend = (*Backend)(nil)

// Backend is an Engine as one owner sees it.
type Backend struct {
	engine *Engine
	owner  string
}

// Launch is backend.Backend's.
func (b *Backend) Launch(ctx context.Context, spec backend.Spec) error {
	e := b.engine
	spec = clone(spec)
	program := e.config.Behaviour(spec)
	call := Call{Op: OpLaunch, Owner: b.owner, ID: spec.ID}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", call, err)
	}
	if spec.ID == "" {
		return fmt.Errorf("%s: no id: %w", call, backend.ErrInvalid)
	}
	target, release, err := b.reserve(spec.ID, program)
	if err != nil {
		return fmt.Errorf("%s: %w", call, err)
	}
	defer release()
	call.Host = target.Name
	return e.run(ctx, call, func(fault Fault) error {
		if err := e.fetch(ctx, spec.Image); err != nil {
			return err
		}
		now := e.lock()
		defer e.mu.Unlock()
		if fault.Late > 0 {
			e.late = append(e.late, lateLaunch{at: now.Add(fault.Late), apply: func(at time.Time) {
				if e.room(target) > 0 {
					_ = b.launch(at, target, spec, program, fault.Half)
				}
			}})
			e.notify() // those who Watch have one more moment to wait for
			return nil
		}
		return b.launch(now, target, spec, program, fault.Half)
	})
}

// reserve finds a place for the runner, and holds it until release is called.
func (b *Backend) reserve(id string, program Program) (target *host, release func(), err error) {
	e := b.engine
	e.lock()
	defer e.mu.Unlock()
	if r := e.runners[id]; r != nil {
		return r.host, func() {}, nil
	}
	if program.Err != nil {
		return nil, nil, program.Err
	}
	target, err = e.place()
	if err != nil {
		return nil, nil, err
	}
	target.reserved++
	return target, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		target.reserved--
	}, nil
}

// launch is the effect. The lock is held.
func (b *Backend) launch(now time.Time, target *host, spec backend.Spec, program Program, half bool) error {
	e := b.engine
	r := e.runners[spec.ID]
	switch {
	case target.offline && r != nil:
		return errOffline
	case target.offline:
		return backend.ErrUnavailable
	case r == nil:
		r = &runner{owner: b.owner, spec: spec, program: program, host: target, created: now}
		e.runners[spec.ID] = r
		if half {
			e.observe(Created, now, r)
			return nil
		}
	case r.owner != b.owner:
		return fmt.Errorf("the id belongs to another owner: %w", backend.ErrInvalid)
	case !r.launched.IsZero():
		return backend.ErrExists
	}
	r.launched = now
	e.observe(Launched, now, r)
	return nil
}

// errOffline is uncertain: the runner is there, out of reach.
var errOffline = errors.New("its host is offline")

// List is backend.Backend's.
func (b *Backend) List(ctx context.Context) (backend.Listing, error) {
	listing := backend.Listing{Began: time.Now()}
	err := b.engine.run(ctx, Call{Op: OpList, Owner: b.owner}, func(Fault) error {
		now := b.engine.lock()
		defer b.engine.mu.Unlock()
		if h := b.engine.hosts[0]; h.Name == "" && h.offline {
			return backend.ErrUnavailable
		}
		for _, r := range b.engine.runners {
			if r.owner == b.owner {
				listing.Runners = append(listing.Runners, r.seen(now))
			}
		}
		return nil
	})
	if err != nil {
		return backend.Listing{}, err
	}
	slices.SortFunc(listing.Runners, func(a, b backend.Runner) int { return cmp.Compare(a.ID, b.ID) })
	return listing, nil
}

// seen is tell as it is seen from where the hosts may be offline.
func (r *runner) seen(now time.Time) backend.Runner {
	told := r.tell(now)
	if r.host.offline {
		told = backend.Runner{ID: told.ID, Labels: told.Labels, Host: told.Host, State: backend.Unknown, Created: told.Created}
	}
	return told
}

// Remove is backend.Backend's.
func (b *Backend) Remove(ctx context.Context, id string) error {
	call := Call{Op: OpRemove, Owner: b.owner, ID: id, Host: b.engine.hostOf(id)}
	return b.engine.run(ctx, call, func(Fault) error {
		for {
			left, err := b.remove(id)
			if err != nil || left == 0 {
				return err
			}
			if err := wait(ctx, left); err != nil {
				return err
			}
		}
	})
}

// remove takes the runner away, or asks it to end and says how long that takes.
func (b *Backend) remove(id string) (left time.Duration, err error) {
	e := b.engine
	now := e.lock()
	defer e.mu.Unlock()
	r := e.runners[id]
	switch {
	case r == nil:
		if h := e.hosts[0]; h.Name == "" && h.offline {
			return 0, backend.ErrUnavailable
		}
		return 0, nil
	case r.owner != b.owner:
		return 0, nil
	case r.host.offline:
		return 0, backend.ErrUnavailable
	}
	if !r.ended() && !r.launched.IsZero() {
		if r.stopping.IsZero() {
			r.stopping = now
			e.notify()
		}
		e.settle(now)
		if end, ok := r.due(); ok {
			return end.at.Sub(now), nil
		}
	}
	delete(e.runners, id)
	e.observe(Removed, now, r)
	return 0, nil
}

func (e *Engine) hostOf(id string) string {
	e.lock()
	defer e.mu.Unlock()
	if r := e.runners[id]; r != nil {
		return r.host.Name
	}
	return ""
}

// clone makes a spec that the caller can't change any more.
func clone(spec backend.Spec) backend.Spec {
	spec.Labels, spec.Env, spec.Tmpfs = maps.Clone(spec.Labels), maps.Clone(spec.Env), maps.Clone(spec.Tmpfs)
	spec.Entrypoint, spec.Command = slices.Clone(spec.Entrypoint), slices.Clone(spec.Command)
	spec.Mounts = slices.Clone(spec.Mounts)
	spec.CapAdd, spec.CapDrop = slices.Clone(spec.CapAdd), slices.Clone(spec.CapDrop)
	return spec
}
