package hosts

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/hub/fleet/placement"
	"github.com/slipway-ci/slipway/hub/hosts/form"
	"github.com/slipway-ci/slipway/hub/hosts/records"
	"github.com/slipway-ci/slipway/hub/store"
)

// MaxDrain is the longest deadline of a drain.
const MaxDrain = 7 * 24 * time.Hour

// ReasonDraining is why runners without a job are ended on a host that is drained.
const ReasonDraining = "host-draining"

// ReasonDrained is why runners are ended that a drain's deadline finds.
const ReasonDrained = "drain-deadline"

// Drain cordons a host until nothing runs there; the host stays cordoned then.
// What still runs when the deadline has passed is ended; 0: nothing is. Draining
// again sets the deadline anew. Errors: ErrNotFound, queue.InvalidError.
func (r *Registry) Drain(ctx context.Context, nameOrID string, deadline time.Duration) (Host, error) {
	if deadline < 0 || deadline > MaxDrain {
		return Host{}, form.Invalid("deadline_seconds", "is %s: up to %s is allowed, and 0 for none", deadline, MaxDrain)
	}
	return r.change(ctx, "drain host", nameOrID, func(t *tx, h *Host) error {
		h.Cordoned, h.Draining, h.DrainDeadline = true, true, time.Time{}
		said := "host draining"
		if deadline > 0 {
			h.DrainDeadline = t.now.Add(deadline)
			said = fmt.Sprintf("host draining: what runs there in %s is ended", deadline)
		}
		r.tell(t, "host-draining", *h, said)
		return nil
	})
}

// endAgain is the pause before runners are asked to end once more.
const endAgain = 10 * time.Second

// drains looks at the hosts that are drained, and says whether there are any.
func (r *Registry) drains(ctx context.Context, states map[string]fleet.HostState) (pending bool, err error) {
	type draining struct {
		host    Host
		runners []string
	}
	var all []draining
	err = r.read(ctx, func(t *tx) error {
		hosts, err := store.All(t.Tx, scanHost, hostQuery+`h.draining <> 0 ORDER BY h.id`)
		for _, h := range hosts {
			runners, err := records.Of(t.Tx, h.ID)
			if err != nil {
				return err
			}
			all = append(all, draining{h, runners})
		}
		return err
	})
	if err != nil {
		return true, fmt.Errorf("hosts: look at drains: %w", err)
	}
	now := time.Now()
	for _, d := range all {
		switch drainStep(d.host, len(d.runners), states[d.host.ID], now) {
		case drainDone:
			if err := r.drained(ctx, d.host); err != nil {
				return true, err
			}
		case drainEnd:
			pending = true
			r.end(ctx, d.host, d.runners)
		default:
			pending = true
			r.retire(d.host, d.runners)
		}
	}
	return pending, nil
}

type drainDeed int

const (
	drainWait drainDeed = iota
	drainDone
	drainEnd
)

// drainStep decides. What can't be seen is not gone: a host is empty when nothing
// holds a slot there or is on its way to, and moreover no runner of it is on
// record, or its agent is there and shows what there is.
func drainStep(h Host, recorded int, st fleet.HostState, now time.Time) drainDeed {
	switch {
	case st.Held == 0 && (recorded == 0 || st.Online && st.Ready):
		return drainDone
	case !h.DrainDeadline.IsZero() && !now.Before(h.DrainDeadline):
		return drainEnd
	}
	return drainWait
}

// drained ends a drain, if it is still the same one.
func (r *Registry) drained(ctx context.Context, h Host) error {
	err := r.write(ctx, func(t *tx) error {
		n, err := t.Exec(`UPDATE hosts SET draining = 0, drain_until = NULL, version = version + 1
			WHERE id = ? AND draining <> 0 AND version = ? AND removed_at IS NULL`, h.ID, h.Version)
		if err == nil && n == 1 {
			r.tell(t, "host-drained", h, "host drained: nothing runs there, and it stays cordoned")
		}
		return err
	})
	if err != nil {
		return failed("end the drain of host", h.Name, err)
	}
	r.mu.Lock()
	delete(r.ending, h.ID)
	delete(r.retiring, h.ID)
	r.mu.Unlock()
	r.applied(ctx, h.ID)
	return nil
}

// retire asks for the end of what waits for a job on a host: busy runners go on.
func (r *Registry) retire(h Host, runners []string) {
	ender, _, due := r.asks(r.retiring, h)
	if due && len(runners) > 0 {
		ender.Retire(runners, ReasonDraining)
	}
}

// asks says whether it is time to ask for something of a host, and when that was done
// before.
func (r *Registry) asks(asked map[string]time.Time, h Host) (ender Terminator, last time.Time, due bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	last, now := asked[h.ID], time.Now()
	due = r.ender != nil && now.Sub(last) >= endAgain
	if due {
		asked[h.ID] = now
	}
	return r.ender, last, due
}

// end asks for the end of what still runs on a host.
func (r *Registry) end(ctx context.Context, h Host, runners []string) {
	ender, last, due := r.asks(r.ending, h)
	f := r.bound()
	if !due {
		return
	}
	if f != nil {
		runners = slices.DeleteFunc(slices.Clone(runners), func(id string) bool {
			seen, _, known := f.Runner(ctx, id)
			return known && seen.State.Ended()
		})
	}
	if len(runners) == 0 {
		return
	}
	if last.IsZero() {
		r.cfg.Events("host-drain-deadline", h.object(), fmt.Sprintf("the drain's deadline has passed: %s to be ended", placement.Plural(len(runners), "runner")))
	}
	r.log.Info("runners ended", "host", h.Name, "reason", ReasonDrained, "runners", len(runners))
	ender.Terminate(runners, ReasonDrained)
}
