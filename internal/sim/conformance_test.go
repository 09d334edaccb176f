package sim_test

import (
	"testing"
	"time"

	"github.com/slipway-ci/slipway/internal/sim"
	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/provisioner/controlplanetest"
	"github.com/slipway-ci/slipway/template"
)

// planeHarness is a world's control plane as the conformance suite sees it: an
// adversary that breaks the contract would prove nothing.
type planeHarness struct {
	w       *sim.World
	targets bool
}

func (h planeHarness) Open(t *testing.T) provisioner.ControlPlane {
	l, _ := h.w.NewLife(t.Context())
	return l.ControlPlane()
}

func (h planeHarness) Enqueue(_ *testing.T, labels []string, n int) {
	for range n {
		h.w.Submit(time.Hour, labels...)
	}
}

func (h planeHarness) Traits() controlplanetest.Traits {
	return controlplanetest.Traits{Targets: h.targets, OneStep: true, LostGrant: 5 * time.Second, Patience: 20 * time.Second}
}

func TestTheControlPlanesKeepTheirPromises(t *testing.T) {
	t.Parallel() // it waits in real time
	for name, levels := range map[string][]string{"grants": nil, "targets": {"small", "large"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			controlplanetest.Run(t, func(*testing.T) controlplanetest.Harness {
				var templates []template.Template
				for _, s := range controlplanetest.Templates() {
					templates = append(templates, kind(s.Template, s.Free, s.Labels...))
				}
				setup := able(templates...)
				setup.Levels = levels
				w := sim.NewWorld(setup)
				w.Calm()
				return planeHarness{w, levels != nil}
			})
		})
	}
}
