package backendtest

import "testing"

// promise is one thing that every Backend holds.
type promise struct {
	name  string
	why   string
	check func(s *suite)
}

// Run checks every promise against harnesses that open makes, one after the other.
func Run(t *testing.T, open Opener) { run(t, open, false) }

// RunParallel is Run with promises that are checked in parallel, as far as go test
// -parallel goes. It is for harnesses that share no room: those with engines of
// their own each, or on one engine that has room for all. It returns before they
// are checked, as t.Run does of a parallel test.
func RunParallel(t *testing.T, open Opener) { run(t, open, true) }

func run(t *testing.T, open Opener, parallel bool) {
	for _, group := range [][]promise{launching, listing, states, removing, ownership, interrupted, outages, abilities} {
		for _, p := range group {
			t.Run(p.name, func(t *testing.T) {
				if parallel {
					t.Parallel()
				}
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
