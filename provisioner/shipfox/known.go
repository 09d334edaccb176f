package shipfox

import (
	"maps"
	"slices"
	"time"

	"github.com/slipway-ci/slipway/provisioner"
)

// What is remembered of runners. All of it may be lost: it comes back with the next
// reports and questions.

// remember keeps the ids of the last question, and drops what is known of
// runners that are gone. One that was told of and is not asked about yet is told
// of again when it runs.
func (c *ControlPlane) remember(ids []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.observed = slices.Clone(ids)
	asked := make(map[string]bool, len(ids))
	for _, id := range ids {
		asked[id] = true
	}
	maps.DeleteFunc(c.registered, func(id string, _ bool) bool { return !asked[id] })
	maps.DeleteFunc(c.told, func(id string, _ time.Time) bool { return !asked[id] })
}

// observe notes that the service was told of a runner, and adds it to those of the
// last question. One too many does no harm.
func (c *ControlPlane) observe(id string, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	last, told := c.told[id]
	if !told && !slices.Contains(c.observed, id) {
		c.observed = append(c.observed, id)
	}
	if at = at.Round(0); !told || at.After(last) {
		c.told[id] = at
	}
}

// reportedAt is the time of an event. The clock may have been set back since the last
// one of that runner; what is told must not go back with it.
func (c *ControlPlane) reportedAt(e provisioner.Event) time.Time {
	at := e.At.Round(0) // without the monotonic reading: only what is told counts
	c.mu.Lock()
	defer c.mu.Unlock()
	if last := c.told[e.Runner]; at.Before(last) {
		return last
	}
	return at
}

func (c *ControlPlane) isTold(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, told := c.told[id]
	return told
}

func (c *ControlPlane) setRegistered(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.registered[id] = true
}

func (c *ControlPlane) isRegistered(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.registered[id]
}

// withObserved is the last full list and runners: a reconcile never carries a
// subset.
func (c *ControlPlane) withObserved(runners []provisioner.Ref) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	ids := slices.Clone(c.observed)
	for _, r := range runners {
		if !slices.Contains(ids, r.ID) {
			ids = append(ids, r.ID)
		}
	}
	return ids
}
