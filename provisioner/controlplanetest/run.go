package controlplanetest

import "testing"

// promise is one thing that every control plane of a kind holds.
type promise struct {
	name  string
	why   string
	kind  kind
	check func(s *suite)
}

// kind says which control planes make a promise.
type kind int

const (
	all kind = iota
	granting
	targeting
)

// skip skips what control planes that tell targets, or those that don't, don't promise.
func (k kind) skip(t *testing.T, targets bool) {
	t.Helper()
	switch {
	case k == granting && targets:
		t.Skip("it gives no grants")
	case k == targeting && !targets:
		t.Skip("it tells no targets")
	}
}

// Run checks every promise against harnesses that open makes.
func Run(t *testing.T, open Opener) {
	var told *Traits // by the last harness: some are slow to open
	for _, group := range [][]promise{identifying, polling, targets, living, calling, minting, announcing, reporting, knowing, retiring, bounded} {
		for _, p := range group {
			t.Run(p.name, func(t *testing.T) {
				t.Cleanup(func() {
					if t.Failed() {
						t.Logf("why it matters: %s", p.why)
					}
				})
				if told != nil {
					p.kind.skip(t, told.Targets)
				}
				h := open(t)
				traits := h.Traits()
				told = &traits
				p.kind.skip(t, traits.Targets)
				p.check(newSuite(t, h))
			})
		}
	}
}
