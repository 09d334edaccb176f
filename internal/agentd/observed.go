package agentd

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/tokens"
)

// observed is a backend whose looks are watched: it knows whether the engine can
// be seen, and what is there.
type observed struct {
	backend.Backend
	log     hclog.Logger
	changed func() // called when the engine came back or went away

	running atomic.Int64 // launches under way

	mu      sync.Mutex
	looked  time.Time // when the last look ended
	problem string    // of the last look
	states  map[backend.State]int
	counts  map[string]uint64 // launches by outcome
}

func observe(b backend.Backend, log hclog.Logger, changed func()) *observed {
	return &observed{Backend: b, log: log, changed: changed, looked: time.Now(), states: map[backend.State]int{}, counts: map[string]uint64{}}
}

// List lists, and notes what it saw.
func (o *observed) List(ctx context.Context) (backend.Listing, error) {
	listing, err := o.Backend.List(ctx)
	if err != nil && ctx.Err() == context.Canceled {
		return listing, err // nobody looks any more
	}
	o.note(listing, err)
	return listing, err
}

func (o *observed) note(listing backend.Listing, err error) {
	problem := ""
	if err != nil {
		problem = tokens.Redact(err.Error())
	}
	o.mu.Lock()
	before := o.problem
	o.looked, o.problem = time.Now(), problem
	if err == nil {
		clear(o.states)
		for _, r := range listing.Runners {
			o.states[r.State]++
		}
	}
	o.mu.Unlock()
	switch {
	case problem != "" && before == "":
		o.log.Warn("the engine can't be seen: runners go on, and the hub is told", "err", problem)
	case problem == "" && before != "":
		o.log.Info("the engine can be seen again")
	}
	if (problem == "") != (before == "") {
		o.changed()
	}
}

// seen tells when the last look ended, what kept it from seeing anything, and how
// many runners are in each state.
func (o *observed) seen() (looked time.Time, problem string, states map[backend.State]int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	states = make(map[backend.State]int, len(o.states))
	for s, n := range o.states {
		states[s] = n
	}
	return o.looked, o.problem, states
}

// launches tells how many there were by outcome.
func (o *observed) launches() map[string]uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := make(map[string]uint64, len(o.counts))
	for k, n := range o.counts {
		out[k] = n
	}
	return out
}

// Launch launches, and counts how that went.
func (o *observed) Launch(ctx context.Context, spec backend.Spec) error {
	o.running.Add(1)
	defer o.running.Add(-1)
	err := o.Backend.Launch(ctx, spec)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.counts[outcome(err)]++
	return err
}

// underWay is how many launches are.
func (o *observed) underWay() int64 { return o.running.Load() }

// Watch implements backend.Watcher, as far as the backend does.
func (o *observed) Watch(ctx context.Context, wake func()) error {
	return backend.Watch(ctx, o.Backend, wake)
}

// Prepare implements backend.Preparer, as far as the backend does.
func (o *observed) Prepare(ctx context.Context, spec backend.Spec) error {
	return backend.Prepare(ctx, o.Backend, spec)
}

// Logs implements backend.Logger, as far as the backend does.
func (o *observed) Logs(ctx context.Context, id string, tail int) (io.ReadCloser, error) {
	return backend.Logs(ctx, o.Backend, id, tail)
}
