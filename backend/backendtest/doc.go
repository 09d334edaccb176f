// Package backendtest holds the promises of backend.Backend as a test suite.
// Every implementation runs it:
//
//	func TestConformance(t *testing.T) {
//		backendtest.Run(t, func(t *testing.T) backendtest.Harness { return newHarness(t) })
//	}
//
// Each promise is a subtest of its own with a harness of its own, and says why
// it matters when it fails. What a harness can't do (kill a process from
// outside, take the engine away) it leaves out: each such ability is an
// interface with one or two methods, and the promises that need it are skipped
// by name. A harness should have as many of them as it can: a backend that drops
// the environment, or gives a runner that of another, is noticed with a Teller
// alone, and one that holds a lock while it launches with a Staller.
//
// RunParallel checks the promises in parallel: for harnesses that don't take each
// other's room.
//
// Waits are on conditions, with limits that a slow engine keeps: see Patience.
package backendtest
