package fleet

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/internal/wire"
)

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
	sent, err := wire.FromSpec(spec)
	if err == nil && spec.ID == "" {
		err = fmt.Errorf("field ID is empty: %w", backend.ErrInvalid)
	}
	if err != nil {
		return fmt.Errorf("launch %s: %w", spec.ID, err)
	}
	kind, tried := kindOf(sent), map[*host]bool{}
	var last error
	for {
		r, err := f.assign(sent, kind, tried)
		if err != nil {
			if last != nil {
				err = last // the host's own words say more than that there is no other
			}
			return fmt.Errorf("launch %s: %w", spec.ID, err)
		}
		err = f.launchOn(ctx, r, sent, kind)
		if err == nil {
			return nil
		}
		if !errors.Is(err, backend.ErrExhausted) && !errors.Is(err, backend.ErrUnavailable) || ctx.Err() != nil {
			return fmt.Errorf("launch %s: %w", spec.ID, err)
		}
		tried[r.host], last = true, err
	}
}

// assign finds or makes the record of a launch, and counts the launch as under
// way.
func (f *Fleet) assign(spec *wire.Spec, kind string, tried map[*host]bool) (*record, error) {
	f.mu.Lock()
	defer f.unlock()
	if !f.open {
		return nil, fmt.Errorf("the fleet is not running: %w", backend.ErrUnavailable)
	}
	now := time.Now()
	r := f.runners[spec.ID]
	switch {
	case r != nil && (r.doomed || r.removal != nil):
		return nil, fmt.Errorf("%w: it is to be removed from host %s", ErrOffline, r.host.name())
	case r != nil && !r.host.reachable():
		return nil, fmt.Errorf("%w: %s, where it was sent before", ErrOffline, r.host.name())
	case r != nil && tried[r.host]:
		return nil, fmt.Errorf("host %s could not take it: %w", r.host.name(), backend.ErrUnavailable)
	case r == nil:
		h, err := f.choose(kind, tried, now)
		if err != nil {
			return nil, err
		}
		r = &record{id: spec.ID, host: h, labels: spec.Labels}
		f.put(r)
	}
	if r.calls == 0 {
		r.asked = now
	}
	r.calls++
	return r, nil
}

// choose takes the hosts in turn. Of those that may take the runner, one that
// has its image comes before one that has not, and both before one that is slow.
func (f *Fleet) choose(kind string, tried map[*host]bool, now time.Time) (*host, error) {
	ids := f.ids()
	first := 0
	for i, id := range ids {
		if id > f.turn {
			first = i
			break
		}
	}
	var best *host
	rank := 4
	obstacles := map[string]int{}
	for i := range ids {
		h := f.hosts[ids[(first+i)%len(ids)]]
		obstacle := h.obstacle(kind, now)
		if tried[h] {
			obstacle = "tried"
		}
		if obstacle != "" {
			obstacles[obstacle]++
			continue
		}
		n := 0
		if !h.prepared[kind] {
			n++
		}
		if h.slow(now, f.config.SlowAfter) {
			n += 2
		}
		if n < rank {
			best, rank = h, n
		}
	}
	if best == nil {
		return nil, fmt.Errorf("none of %d hosts can take it%s: %w", len(ids), counted(obstacles), backend.ErrExhausted)
	}
	f.turn = best.ID
	return best, nil
}

// counted puts the obstacles into words, in a fixed order.
func counted(obstacles map[string]int) string {
	var parts []string
	for _, word := range []string{"offline", "needs-update", "not ready", "blind", "cordoned", "full", "backing off", "tried"} {
		if n := obstacles[word]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, word))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

// launchOn writes the record, then sends the launch, then waits for the answer.
func (f *Fleet) launchOn(ctx context.Context, r *record, spec *wire.Spec, kind string) error {
	f.mu.Lock()
	saved := f.save(r.id)
	f.unlock()
	if err := saved.wait(ctx); err != nil {
		err = fmt.Errorf("its record is not written: %w: %w", errNotSent, plain(err))
		f.mu.Lock()
		defer f.unlock()
		f.launched(r, kind, err)
		return err
	}
	f.mu.Lock()
	s := r.host.session
	var c *call
	err := fmt.Errorf("host %s: %w: offline", r.host.name(), errNotSent)
	if f.runners[r.id] == r && r.host.reachable() {
		c, err = s.begin(ctx, wire.Frame{Type: wire.Launch, Spec: spec}, func(err error) { f.launched(r, kind, err) })
	}
	if err != nil {
		f.launched(r, kind, err)
	}
	f.unlock()
	if err != nil {
		return err
	}
	return s.await(ctx, c)
}

// launched applies what came of one launch. The lock is held.
func (f *Fleet) launched(r *record, kind string, err error) {
	r.calls--
	h, now := r.host, time.Now()
	switch {
	case err == nil || errors.Is(err, backend.ErrExists):
		r.uncertain, r.absent = false, time.Time{}
		if r.seen == nil {
			r.seen = &wire.Runner{ID: r.id, Labels: r.labels, State: "starting"}
		}
		delete(h.failures, kind)
	case backend.IsDefinite(err):
		if h.session != nil && !errors.Is(err, errNotSent) {
			f.fail(h, kind, err, now)
		}
	default:
		r.uncertain = r.seen == nil
		if now.Sub(r.asked) >= f.config.SlowAfter && h.session != nil {
			f.fail(h, kind, err, now)
		}
	}
	if r.calls == 0 && !r.known() && !r.uncertain && r.absent.IsZero() {
		f.drop(r)
	}
	f.notify()
}
