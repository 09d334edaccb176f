package backendtest

import "testing"

// promise is one thing that every Backend holds.
type promise struct {
	name  string
	why   string
	check func(s *suite)
}

// Run checks every promise against harnesses that open makes.
func Run(t *testing.T, open Opener) {
	for _, group := range [][]promise{launching, listing, states, removing, ownership, interrupted, outages, abilities} {
		for _, p := range group {
			t.Run(p.name, func(t *testing.T) {
				t.Cleanup(func() {
					if t.Failed() {
						t.Logf("why it matters: %s", p.why)
					}
				})
				p.check(newSuite(t, open(t)))
			})
		}
	}
}
