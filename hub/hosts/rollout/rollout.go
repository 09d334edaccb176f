package rollout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/tokens"
)

// Config is what Rollouts are made from. All fields are needed.
type Config struct {
	// Store has the orders.
	Store *store.Store
	// Timeout is how long after it was told to an agent may take until it is online
	// with its next version.
	Timeout time.Duration
	// Tell is told what became of a host's order.
	Tell func(Told)
	// Changed is told that there is something to look at.
	Changed func()
	Logger  hclog.Logger
}

// Fleet tells agents to update.
type Fleet interface {
	// Update has a host's agent become another version.
	Update(ctx context.Context, host, version string) error
}

// Rollouts carries out what was ordered.
type Rollouts struct {
	Config
	calls sync.WaitGroup // requests to agents

	mu    sync.Mutex
	asked map[string]asked // by host
}

// asked is when a host was last asked to update, and how often again for one rollout.
type asked struct {
	at      time.Time
	rollout string
	again   int
}

// New makes Rollouts.
func New(config Config) *Rollouts { return &Rollouts{Config: config, asked: map[string]asked{}} }

// Wait waits for the requests to agents; the context of Look ends them.
func (r *Rollouts) Wait() { r.calls.Wait() }

// Forget drops what is known in memory of a host.
func (r *Rollouts) Forget(host string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.asked, host)
}

// Look carries out what is ordered, as the hosts do now, and says whether there is
// anything. A fleet that is nil is not there yet.
func (r *Rollouts) Look(ctx context.Context, f Fleet, states map[string]fleet.HostState) (pending bool, err error) {
	var orders []order
	err = r.Store.Read(ctx, func(t *store.Tx) error {
		orders, err = underWay(t)
		return err
	})
	if err != nil {
		return true, fmt.Errorf("hosts: look at updates: %w", err)
	}
	r.count(orders)
	now := time.Now()
	for len(orders) > 0 {
		n := 1
		for n < len(orders) && orders[n].rollout == orders[0].rollout {
			n++
		}
		for _, s := range plan(orders[:n], states, now, r.Timeout) {
			if err := r.step(ctx, f, s); err != nil {
				return true, err
			}
		}
		orders, pending = orders[n:], true
	}
	return pending, nil
}

// step writes what becomes of an order, then does it.
func (r *Rollouts) step(ctx context.Context, f Fleet, s step) error {
	if s.to == orderAsked && (f == nil || !r.mayAsk(s.order)) {
		return nil
	}
	taken, err := r.move(ctx, s.order, s.to, s.problem)
	if err != nil || !taken || s.to != orderAsked {
		return err
	}
	r.calls.Go(func() { r.ask(ctx, f, s.order) })
	return nil
}

// askAgain is the pause after a request to update that was not delivered, or whose
// session has ended.
const askAgain = 10 * time.Second

// mayAsk says whether a host may be asked now, and then counts it as asked.
func (r *Rollouts) mayAsk(o order) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if now.Sub(r.asked[o.host].at) < askAgain {
		return false
	}
	if o.state == orderAsked {
		o.again++
	}
	r.asked[o.host] = asked{now, o.rollout, o.again}
	return true
}

// count notes how often each order was asked again. It is not stored: a restart of the
// hub ends every session, and begins anew with it.
func (r *Rollouts) count(orders []order) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, o := range orders {
		if a := r.asked[o.host]; a.rollout == o.rollout {
			orders[i].again = a.again
		}
	}
}

// move writes and tells one change of an order, if it is still as it was.
func (r *Rollouts) move(ctx context.Context, o order, to orderState, problem string) (taken bool, err error) {
	err = r.Store.Write(ctx, func(t *store.Tx) error {
		taken, err = o.move(t, to, problem)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("note the update of host %q: %w", o.name, err)
	}
	if said := sayings[to]; taken && said != "" {
		r.Tell(Told{Host{ID: o.host, Name: o.name}, "host-update-" + string(to), said + ": " + cmp.Or(problem, o.version)})
	}
	return taken, nil
}

// ask tells an agent to update. An answer that was lost says nothing: the version
// it comes back with does.
func (r *Rollouts) ask(ctx context.Context, f Fleet, o order) {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	err := f.Update(ctx, o.host, o.version)
	o.state = orderAsked
	switch {
	case err == nil || ctx.Err() != nil:
		return
	case errors.Is(err, backend.ErrUnavailable): // it was not told
		_, err = r.move(ctx, o, orderWaiting, "")
	case errors.Is(err, fleet.ErrOffline):
		return
	default:
		_, err = r.move(ctx, o, orderFailed, o.version+": "+tokens.Redact(err.Error()))
	}
	if err != nil {
		r.Logger.Error("note an update", "host", o.name, "err", tokens.Redact(err.Error()))
	}
	r.Changed()
}
