package hub

import (
	"github.com/slipway-ci/slipway/hub/scalesets"
	"github.com/slipway-ci/slipway/provisioner"
)

// Statuses tells how scale sets do, and what to do about those that don't do well, in
// the order that they are given in. It reads memory alone.
func (c *compute) Statuses(sets []scalesets.ScaleSet) []scalesets.Status {
	held := map[string]int{}
	for _, h := range c.fleet.Hosts() {
		held[h.ID] = h.Held
	}
	health := map[string]provisioner.Health{}
	for plane, loop := range c.loops {
		health[plane] = loop.Health()
	}
	out := make([]scalesets.Status, len(sets))
	for i, s := range sets {
		see := scalesets.Sight{Verdicts: c.fleet.Explain(s.Key), Held: held, Plane: "this hub is no provisioner of one (--shipfox-url)"}
		if loop, runs := health[s.ControlPlane]; runs {
			see.Loop, see.RunnerURL, see.Plane = loop.Template(s.Key), c.runnersAt[s.ControlPlane](), c.silent(s.ControlPlane, loop)
		}
		out[i] = s.Status(see)
	}
	return out
}

// silent says why a plane gives no jobs; empty: it does, or was not asked yet.
func (c *compute) silent(plane string, health provisioner.Health) string {
	c.mu.Lock()
	problem := c.problem[plane]
	c.mu.Unlock()
	if poll := health.Facet(provisioner.FacetPoll); problem == "" && !poll.OK && poll.Reason != provisioner.ReasonNotYet {
		problem = poll.Reason
	}
	return problem
}
