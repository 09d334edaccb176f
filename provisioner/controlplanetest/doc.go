// Package controlplanetest holds the promises of provisioner.ControlPlane as a
// test suite. Every implementation runs it:
//
//	func TestConformance(t *testing.T) {
//		controlplanetest.Run(t, func(t *testing.T) controlplanetest.Harness { return newHarness(t) })
//	}
//
// Each promise is a subtest of its own with a harness of its own, and says why
// it matters when it fails. Control planes that grant and those that tell
// targets run the same suite: see Traits. What a harness can't do it leaves
// out: each such ability is an interface with one or two methods, and the
// promises that need it are skipped by name.
//
// The suite advertises the templates that Templates tells, and no others. It takes a
// few seconds, most of them for the ends of grants: a harness that is an Ager need not
// wait for those.
package controlplanetest
