package hosts

import (
	"context"
	"fmt"
	"time"

	"github.com/slipway-ci/slipway/hub/hosts/form"
	"github.com/slipway-ci/slipway/hub/store"
)

// HostSpec is what a new host is to be.
type HostSpec struct {
	// Name; see form.Name. Required.
	Name string
	// Labels; see form.Labels.
	Labels map[string]string
	// MaxRunners is its cap; 0: its CPUs.
	MaxRunners int
	// Cordoned: it gets no runners before it is uncordoned.
	Cordoned bool
	// Isolated asks for an isolated runtime to be installed.
	Isolated bool
	// TTL of the invitation; default Config.EnrolmentTTL.
	TTL time.Duration
}

func (s HostSpec) check() error {
	if err := form.Name(s.Name); err != nil {
		return err
	}
	if err := reserved(s.Name); err != nil {
		return err
	}
	if err := form.Labels("labels", s.Labels); err != nil {
		return err
	}
	if err := form.Cap(s.MaxRunners); err != nil {
		return err
	}
	return form.TTL(s.TTL)
}

// Add makes a host and the invitation that a machine becomes it by. Errors:
// ErrNoPublicURL, ErrNameTaken, queue.InvalidError.
func (r *Registry) Add(ctx context.Context, spec HostSpec) (h Host, i Invitation, err error) {
	if err := spec.check(); err != nil {
		return Host{}, Invitation{}, err
	}
	if r.base == "" {
		return Host{}, Invitation{}, failed("add host", spec.Name, ErrNoPublicURL)
	}
	err = r.write(ctx, func(t *tx) error {
		if h, err = t.add(spec, false); err != nil {
			return err
		}
		i, err = r.invite(t, h, spec.TTL)
		r.tell(t, "host-added", h, "host added")
		return err
	})
	if err != nil {
		return Host{}, Invitation{}, failed("add host", spec.Name, err)
	}
	r.applied(ctx, h.ID)
	return h, i, nil
}

// add makes the row of a host.
func (t *tx) add(spec HostSpec, local bool) (Host, error) {
	if err := t.free(spec.Name); err != nil {
		return Host{}, err
	}
	labels, err := encoded(spec.Labels)
	if err != nil {
		return Host{}, err
	}
	id := newID()
	_, err = t.Exec(`INSERT INTO hosts (id, name, labels, max_runners, cordoned, isolated, local, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		id, spec.Name, labels, spec.MaxRunners, spec.Cordoned, spec.Isolated, local, millis(t.now))
	if err != nil {
		return Host{}, err
	}
	return t.find(id)
}

// free says whether no host has the name.
func (t *tx) free(name string) error {
	other, taken, err := store.One(t.Tx, store.Value[string], `SELECT id FROM hosts WHERE name = ? AND removed_at IS NULL`, name)
	if err == nil && taken {
		err = fmt.Errorf("%w by host %s: choose another one, or make a new line for that host with reenrol", ErrNameTaken, other)
	}
	return err
}
