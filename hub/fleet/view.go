package fleet

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"maps"

	"github.com/slipway-ci/slipway/backend"
)

var (
	_ backend.Backend  = (*View)(nil)
	_ backend.Watcher  = (*View)(nil)
	_ backend.Sizer    = (*View)(nil)
	_ backend.Preparer = (*View)(nil)
	_ backend.Logger   = (*View)(nil)
	_ backend.Blamer   = (*View)(nil)
)

// LabelPlane is the label by which a View knows its own runners.
const LabelPlane = "control-plane"

// View is a Fleet as one of several loops over it sees it: with its own runners,
// and those alone. Hosts, their caps and their back-offs are shared.
type View struct {
	fleet *Fleet
	plane string
}

// View is the fleet for the loop of that control plane. What it launches carries
// the label LabelPlane, which the view itself does not tell.
func (f *Fleet) View(plane string) *View { return &View{fleet: f, plane: plane} }

// Launch is backend.Backend's.
func (v *View) Launch(ctx context.Context, spec backend.Spec) error {
	if !v.free(spec.ID) {
		return fmt.Errorf("launch %s: its id is another control plane's: %w", spec.ID, backend.ErrInvalid)
	}
	return v.fleet.Launch(ctx, v.stamp(spec))
}

// stamp makes the spec one of the view's.
func (v *View) stamp(spec backend.Spec) backend.Spec {
	labels := maps.Clone(spec.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	labels[LabelPlane] = v.plane
	spec.Labels = labels
	return spec
}

// List is backend.Backend's.
func (v *View) List(ctx context.Context) (backend.Listing, error) {
	listing, err := v.fleet.list(ctx, func(r *record) bool { return r.plane == v.plane })
	for i := range listing.Runners {
		delete(listing.Runners[i].Labels, LabelPlane)
	}
	return listing, err
}

// Remove is backend.Backend's. Another's runner is none.
func (v *View) Remove(ctx context.Context, id string) error {
	if !v.free(id) {
		return nil
	}
	return v.fleet.Remove(ctx, id)
}

// Logs is backend.Logger's.
func (v *View) Logs(ctx context.Context, id string, tail int) (io.ReadCloser, error) {
	if !v.free(id) {
		return nil, fmt.Errorf("logs of %s: %w", id, fs.ErrNotExist)
	}
	return v.fleet.Logs(ctx, id, tail)
}

// free says whether the runner is the view's, or nobody's. One that is gone is whose it
// was.
func (v *View) free(id string) bool {
	v.fleet.mu.Lock()
	defer v.fleet.unlock()
	t, ok := v.fleet.trace(id)
	return !ok || t.plane == v.plane
}

// Watch is backend.Watcher's: it wakes at the others' changes too.
func (v *View) Watch(ctx context.Context, wake func()) error { return v.fleet.Watch(ctx, wake) }

// Capacity is backend.Sizer's: room that others may take as well.
func (v *View) Capacity(ctx context.Context, specs []backend.Spec) ([]int, error) {
	return v.fleet.Capacity(ctx, specs)
}

// Prepare is backend.Preparer's.
func (v *View) Prepare(ctx context.Context, spec backend.Spec) error {
	return v.fleet.Prepare(ctx, spec)
}

// HostOf tells the id of the host that a runner lives on, or was sent to.
func (f *Fleet) HostOf(runner string) (host string, ok bool) {
	f.mu.Lock()
	defer f.unlock()
	r := f.runners[runner]
	if r == nil {
		return "", false
	}
	return r.host.ID, true
}

// Crashed is backend.Blamer's.
func (v *View) Crashed(id, reason string) bool { return v.free(id) && v.fleet.Crashed(id, reason) }

// Proved is backend.Blamer's.
func (v *View) Proved(id string) {
	if v.free(id) {
		v.fleet.Proved(id)
	}
}
