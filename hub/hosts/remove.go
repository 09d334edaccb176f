package hosts

import (
	"context"
	"errors"
	"fmt"

	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/hub/fleet/placement"
	"github.com/slipway-ci/slipway/hub/hosts/records"
	"github.com/slipway-ci/slipway/hub/hosts/rollout"
	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/store"
)

// Remove takes a host out for ever: its id and its credentials are refused from
// then on, and its name is free.
//
// One that is online or has runners is ErrBusy, unless it is forced: then its
// runners are given up. What they hold of the queue (registrations, sessions,
// leases) is revoked in the same write, and their jobs end as queue.Revoke says.
// An agent that comes back is told that it was removed. ifVersion is as in Edit.
// Errors: ErrNotFound, ErrStale, ErrBusy.
func (r *Registry) Remove(ctx context.Context, nameOrID string, ifVersion int64, force bool) error {
	h, err := r.Host(ctx, nameOrID)
	if err != nil {
		return err
	}
	if ifVersion != 0 && h.Version != ifVersion {
		return failed("remove host", h.Name, ErrStale)
	}
	if err := r.leave(ctx, h, force); err != nil {
		return failed("remove host", h.Name, err)
	}
	_, err = r.revoke(ctx, func(t *tx) ([]string, error) { return r.remove(t, h.ID, ifVersion, force) })
	if err != nil {
		r.applied(ctx, h.ID) // it goes on as it was
		return failed("remove host", h.Name, err)
	}
	if f := r.bound(); f != nil {
		if err := f.Forget(h.ID, true); err != nil && !errors.Is(err, fleet.ErrUnknownHost) {
			return failed("remove host", h.Name, err)
		}
	}
	r.forget(h.ID)
	return nil
}

// leave makes the fleet give the host nothing more, or says why it can't go.
func (r *Registry) leave(ctx context.Context, h Host, force bool) error {
	f := r.bound()
	if force {
		if f == nil {
			return nil
		}
		set := h.setting()
		set.Cordoned = true
		return f.SetHost(set)
	}
	var runners []string
	err := r.read(ctx, func(t *tx) (err error) {
		runners, err = records.Of(t.Tx, h.ID)
		return err
	})
	var st fleet.HostState
	if f != nil {
		st, _ = f.Host(h.ID)
	}
	switch n := max(len(runners), st.Held); {
	case err != nil:
		return err
	case st.Online || n > 0:
		return inUse(st.Online, n)
	case f == nil:
		return nil
	}
	err = f.Forget(h.ID, false) // in one step with the last look
	switch {
	case errors.Is(err, fleet.ErrUnknownHost):
		return nil
	case errors.Is(err, fleet.ErrBusyHost):
		return inUse(true, 0)
	}
	return err
}

// inUse is ErrBusy in words that say what to do.
func inUse(online bool, runners int) error {
	what := "is online"
	switch {
	case online && runners > 0:
		what = fmt.Sprintf("is online and has %s", placement.Plural(runners, "runner"))
	case runners > 0:
		what = fmt.Sprintf("is offline and may have %s", placement.Plural(runners, "runner"))
	}
	return fmt.Errorf("%w: it %s: drain it and stop its agent first; if it is gone for good, remove it by force, which gives its runners up", ErrBusy, what)
}

// remove turns the host's row into one that is remembered as removed, and names
// the runners that go with it.
func (r *Registry) remove(t *tx, id string, ifVersion int64, force bool) (runners []string, err error) {
	h, err := t.find(id)
	if err != nil {
		return nil, err
	}
	if ifVersion != 0 && h.Version != ifVersion {
		return nil, ErrStale
	}
	if runners, err = records.Of(t.Tx, id); err != nil {
		return nil, err
	}
	if len(runners) > 0 && !force {
		return nil, inUse(false, len(runners))
	}
	if err := rollout.Leave(t.Tx, h.ID, h.Name, "it was removed"); err != nil {
		return nil, err
	}
	if err := records.Drop(t.Tx, id); err != nil {
		return nil, err
	}
	if _, err := t.Exec(`DELETE FROM host_enrolments WHERE host_id = ?`, id); err != nil {
		return nil, err
	}
	_, err = t.Exec(`UPDATE hosts SET removed_at = ?, draining = 0, drain_until = NULL, facts = '{}', labels = '{}' WHERE id = ?`, millis(t.now), id)
	said := "host removed"
	if len(runners) > 0 {
		said = fmt.Sprintf("host removed by force, with %s given up", placement.Plural(len(runners), "runner"))
	}
	r.tell(t, "host-removed", h, said)
	return runners, err
}

// revoke is the queue's Revoke, in one write with choose; without a queue it is
// choose alone.
func (r *Registry) revoke(ctx context.Context, choose func(*tx) ([]string, error)) (revoked queue.Revoked, err error) {
	if r.cfg.Queue == nil {
		return revoked, r.write(ctx, func(t *tx) error {
			_, err := choose(t)
			return err
		})
	}
	var then []func()
	revoked, err = r.cfg.Queue.Revoke(ctx, queue.ReasonHostRemoved, func(s *store.Tx) ([]string, error) {
		t := newTx(s)
		chosen, err := choose(t)
		then = t.then
		return chosen, err
	})
	if err != nil {
		return revoked, err
	}
	for _, do := range then {
		do()
	}
	if revoked.Runners > 0 {
		r.log.Info("runners revoked", "reason", queue.ReasonHostRemoved, "runners", revoked.Runners, "jobs_ended", revoked.Ended, "jobs_again", revoked.Again)
	}
	return revoked, nil
}
