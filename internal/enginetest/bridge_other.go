//go:build !linux

package enginetest

import "testing"

func bridge(t testing.TB, _ string) {
	t.Helper()
	t.Skip("an engine of the test's own needs Linux")
}
