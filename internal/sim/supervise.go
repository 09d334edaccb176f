package sim

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/provisioner"
)

// Config is what to make this life's loop from.
func (l *Life) Config() provisioner.Config {
	return provisioner.Config{
		ControlPlane: l.ControlPlane(),
		Backend:      l.Backend(),
		Templates:    l.w.setup.Templates,
		Limits:       l.w.setup.Limits,
		Logger:       hclog.New(&hclog.LoggerOptions{Output: l.Log(), Level: hclog.Trace, DisableTime: true}),
	}
}

// drain is how long a loop may take to end after its ctx did: its DrainTimeout,
// and its CallTimeout for a Close that hangs.
const drain = 61 * time.Second

// Supervise runs one life of the loop after another until ctx ends, as an init
// system does: the last one is stopped cleanly. It returns when all are over.
func (w *World) Supervise(ctx context.Context) {
	var lives sync.WaitGroup
	defer lives.Wait()
	for n := 0; ctx.Err() == nil; n++ {
		l, lifetime := w.NewLife(context.WithoutCancel(ctx))
		loop, err := w.newLoop(l)
		if err != nil {
			w.Breaks("new", "%v", err)
			return
		}
		done := make(chan struct{})
		lives.Go(func() {
			defer close(done)
			if err := loop.Run(lifetime); err != nil && !l.isDead() {
				w.Breaks("run", "life %d: %v", l.n, err)
			}
		})
		w.attend(ctx, l, loop, lifetime, done)
		if ctx.Err() == nil {
			time.Sleep(w.dice.about("restart", n).between(10*time.Millisecond, 15*time.Second))
		}
	}
}

// newLoop makes the loop of a life that nobody shares the world with.
func (w *World) newLoop(l *Life) (*provisioner.Loop, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	loop, err := provisioner.New(l.Config())
	w.loop = loop
	return loop, err
}

// attend watches one life until it is over.
func (w *World) attend(ctx context.Context, l *Life, loop *provisioner.Loop, lifetime context.Context, done <-chan struct{}) {
	for {
		select {
		case <-time.After(20 * time.Second):
			health := loop.Health()
			l.Inspect(health, loop.State())
			if owner := health.Facet(provisioner.FacetOwner); !owner.OK {
				w.Breaks("health", "life %d is alone, and sees %s", l.n, owner.Reason)
			}
			continue
		case <-ctx.Done():
			l.Stop()
		case <-lifetime.Done():
		}
		break
	}
	if l.isDead() {
		return
	}
	select {
	case <-done:
	case <-l.dead:
	case <-time.After(drain):
		w.Breaks("stop", "life %d still runs %s after its stop", l.n, drain)
		l.kill()
	}
}

// errUnsettled is what a world that does not come to rest breaks.
var errUnsettled = errors.New("sim: not settled")

// Settle waits until nothing is left to do.
func (w *World) Settle(within time.Duration) error {
	until := time.Now().Add(within)
	for {
		left := w.Unsettled()
		if left == "" && !w.Ready() {
			left = "it is not ready"
		}
		if left == "" {
			return nil
		}
		if time.Now().After(until) {
			w.Breaks("invariant 8", "after %s without faults: %s", within, left)
			return errUnsettled
		}
		select {
		case <-w.Over():
			return errUnsettled
		case <-time.After(5 * time.Second):
		}
	}
}
