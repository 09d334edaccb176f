package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/provisioner/controlplanetest"
)

func TestConformance(t *testing.T) {
	controlplanetest.Run(t, func(*testing.T) controlplanetest.Harness {
		jobs := make(chan Job, 100)
		return &harness{jobs: jobs, plane: NewPlane(jobs, make(chan string, 100))}
	})
}

// harness is a program around the plane.
type harness struct {
	plane *Plane
	jobs  chan Job
	n     int
}

var _ controlplanetest.Ager = (*harness)(nil)

// Traits: a runner is launched for one job, with its command, and the program is told
// how it ended.
func (h *harness) Traits() controlplanetest.Traits { return controlplanetest.Traits{OneTry: true} }

// Open is a loop that is started anew; the program goes on.
func (h *harness) Open(*testing.T) provisioner.ControlPlane { return h.plane }

func (h *harness) Enqueue(_ *testing.T, labels []string, n int) {
	for range n {
		h.n++
		h.jobs <- Job{Labels: labels, Command: []string{"echo", fmt.Sprint(h.n)}}
	}
}

func (h *harness) Age(_ *testing.T, d time.Duration) {
	h.plane.mu.Lock()
	defer h.plane.mu.Unlock()
	for id, g := range h.plane.granted {
		g.at = g.at.Add(-d)
		h.plane.granted[id] = g
	}
}
