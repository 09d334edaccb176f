package hosts

import (
	"context"
	"time"

	"github.com/slipway-ci/slipway/hub/hosts/form"
)

// Change is what to change of a host; nil fields stay.
type Change struct {
	Name *string
	// Labels are all of them; an empty map is none.
	Labels     map[string]string
	MaxRunners *int
	// Cordoned as false ends a drain, too.
	Cordoned *bool
}

func (c Change) check() error {
	if c.Name != nil {
		if err := form.Name(*c.Name); err != nil {
			return err
		}
	}
	if c.MaxRunners != nil {
		if err := form.Cap(*c.MaxRunners); err != nil {
			return err
		}
	}
	return form.Labels("labels", c.Labels)
}

// Edit changes what is set for a host, if its version is still ifVersion; 0: in
// any case. Errors: ErrNotFound, ErrStale, ErrNameTaken, queue.InvalidError.
func (r *Registry) Edit(ctx context.Context, nameOrID string, ifVersion int64, change Change) (Host, error) {
	if err := change.check(); err != nil {
		return Host{}, err
	}
	return r.change(ctx, "edit host", nameOrID, func(t *tx, h *Host) error {
		if ifVersion != 0 && h.Version != ifVersion {
			return ErrStale
		}
		if change.Name != nil && *change.Name != h.Name {
			if err := reserved(*change.Name); err != nil && !h.Local {
				return err
			}
			if err := t.free(*change.Name); err != nil {
				return err
			}
			h.Name = *change.Name
		}
		if change.Labels != nil {
			h.Labels = change.Labels
		}
		if change.MaxRunners != nil {
			h.MaxRunners = *change.MaxRunners
		}
		if change.Cordoned != nil {
			h.Cordoned = *change.Cordoned
			if !h.Cordoned {
				h.Draining, h.DrainDeadline = false, time.Time{}
			}
		}
		r.tell(t, "host-edited", *h, "host edited")
		return nil
	})
}

// Cordon makes a host get no new runners. What runs there goes on.
func (r *Registry) Cordon(ctx context.Context, nameOrID string) (Host, error) {
	return r.change(ctx, "cordon host", nameOrID, func(t *tx, h *Host) error {
		h.Cordoned = true
		r.tell(t, "host-cordoned", *h, "host cordoned: it gets no new runners")
		return nil
	})
}

// Uncordon lets a host have runners again, and ends its drain.
func (r *Registry) Uncordon(ctx context.Context, nameOrID string) (Host, error) {
	return r.change(ctx, "uncordon host", nameOrID, func(t *tx, h *Host) error {
		h.Cordoned, h.Draining, h.DrainDeadline = false, false, time.Time{}
		r.tell(t, "host-uncordoned", *h, "host uncordoned: it gets runners again")
		return nil
	})
}

// change is one edit of what is set for a host: do changes the fields of it.
func (r *Registry) change(ctx context.Context, deed, nameOrID string, do func(*tx, *Host) error) (h Host, err error) {
	err = r.write(ctx, func(t *tx) error {
		if h, err = t.find(nameOrID); err != nil {
			return err
		}
		if err := do(t, &h); err != nil {
			return err
		}
		labels, err := encoded(h.Labels)
		if err != nil {
			return err
		}
		if _, err := t.Exec(`UPDATE hosts SET name = ?, labels = ?, max_runners = ?, cordoned = ?, draining = ?, drain_until = ?, isolated = ?,
			version = version + 1 WHERE id = ?`,
			h.Name, labels, h.MaxRunners, h.Cordoned, h.Draining, nullable(h.DrainDeadline), h.Isolated, h.ID); err != nil {
			return err
		}
		h, err = t.find(h.ID)
		return err
	})
	if err != nil {
		return Host{}, failed(deed, nameOrID, err)
	}
	r.applied(ctx, h.ID)
	return h, nil
}
