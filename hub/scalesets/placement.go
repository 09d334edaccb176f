package scalesets

import (
	"cmp"
	"context"
	"fmt"

	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/template"
)

// image is what a scale set's runners are made from.
func (r *Registry) image(s ScaleSet) string { return cmp.Or(s.Image, r.cfg.DefaultImage) }

// Templates are those of the scale sets that take their jobs from a control plane,
// by name, ready for the loop. An empty plane is every plane.
func (r *Registry) Templates(ctx context.Context, plane string) ([]template.Template, error) {
	sets, _, err := r.List(ctx, Filter{ControlPlane: plane})
	if err != nil {
		return nil, err
	}
	out := make([]template.Template, 0, len(sets))
	for _, s := range sets {
		s.Image = r.image(s)
		out = append(out, s.Template)
	}
	return out, nil
}

// Placements say where the runners of every scale set may live, for the fleet. Never
// nil: without scale sets no host takes anything.
func (r *Registry) Placements(ctx context.Context) (map[string]fleet.Placement, error) {
	sets, _, err := r.List(ctx, Filter{})
	if err != nil {
		return nil, fmt.Errorf("scalesets: placements: %w", err)
	}
	out := make(map[string]fleet.Placement, len(sets))
	for _, s := range sets {
		out[s.Key] = fleet.Placement{
			Hosts: s.Hosts, Selector: s.Selector, PerHostMax: s.PerHostMax, Isolated: s.Isolated, MinDiskFree: s.MinDiskFree,
		}
	}
	return out, nil
}
