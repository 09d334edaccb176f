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

// Run checks every promise against harnesses that open makes.
func Run(t *testing.T, open Opener) {
	for _, group := range [][]promise{identifying, polling, targets, minting, announcing, reporting, knowing, retiring, bounded} {
		for _, p := range group {
			t.Run(p.name, func(t *testing.T) {
				t.Cleanup(func() {
					if t.Failed() {
						t.Logf("why it matters: %s", p.why)
					}
				})
				h := open(t)
				switch told := h.Traits().Targets; {
				case p.kind == granting && told:
					t.Skip("it gives no grants")
				case p.kind == targeting && !told:
					t.Skip("it tells no targets")
				}
				p.check(newSuite(t, h))
			})
		}
	}
}
