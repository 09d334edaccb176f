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
// by name.
//
// Waits are on conditions, with limits that a slow engine keeps: see Patience.
package backendtest
