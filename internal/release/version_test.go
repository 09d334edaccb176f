package release_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/slipway-ci/slipway/internal/release"
)

func TestNewer(t *testing.T) {
	// The order of semver.org, section 11, and what we add to it.
	ascending := []string{
		"0.9.9", "1.0.0-alpha", "1.0.0-alpha.1", "v1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0-rc.1-3-gabcdef0",
		"v1.0.0", "v1.0.0-2-gabcdef0", "v1.0.0-10-g1234567", "1.0.1", "1.2.0", "1.10.0", "2.0.0-0", "2.0.0-1", "2.0.0-10", "2.0.0-a", "2.0.0",
	}
	for i, a := range ascending {
		for j, b := range ascending {
			newer, err := release.Newer(a, b)
			require.NoError(t, err)
			require.Equal(t, j > i, newer, "%s → %s", a, b)
		}
		for _, dev := range []string{"dev", "", "0123456789ab", "0123456789ab-dirty", "1.2", "(devel)"} {
			newer, err := release.Newer(dev, a)
			require.NoError(t, err)
			require.True(t, newer, "a development build can be left: %q → %s", dev, a)
			_, err = release.Newer(a, dev)
			require.ErrorIs(t, err, release.ErrVersion, "nobody is led to a development build: %s → %q", a, dev)
		}
	}
	for pair, want := range map[[2]string]bool{
		{"v1.0.0+a", "1.0.0+b"}: false, {"1.0.0-dirty", "1.0.0"}: false, {"1.0.0-dirty", "1.0.1"}: true, {"v1.0.0-4-gabcdef0-dirty", "v1.0.0"}: false,
	} {
		newer, err := release.Newer(pair[0], pair[1])
		require.NoError(t, err)
		require.Equal(t, want, newer, "%v", pair)
	}
	for _, bad := range []string{"01.0.0", "1.0.0-01", "1.0.0-", "1.0.0-a..b", "v1", "1.0.0 ", "1.0.0\n", "1.0.0-dirty", "9999999999.0.0", "../1.0.0"} {
		_, err := release.Newer("1.0.0", bad)
		require.ErrorIs(t, err, release.ErrVersion, "%q", bad)
	}
}

// Forward is an order: nobody is led in a circle.
func TestNewerIsAnOrder(t *testing.T) {
	versions := rapid.StringMatching(`v?[0-2]\.[0-2]\.[0-2](-(a|b|0|1|10)(\.(a|1))?)?(-[1-2]-gabcdef0)?`)
	newer := func(t *rapid.T, a, b string) bool {
		forward, err := release.Newer(a, b)
		if err != nil {
			t.Fatalf("%s → %s: %v", a, b, err)
		}
		return forward
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := versions.Draw(t, "a"), versions.Draw(t, "b"), versions.Draw(t, "c")
		if newer(t, a, b) && newer(t, b, a) {
			t.Fatalf("%s and %s are each newer than the other", a, b)
		}
		if newer(t, a, b) && newer(t, b, c) && !newer(t, a, c) {
			t.Fatalf("%s < %s < %s, but not %s < %s", a, b, c, a, c)
		}
	})
}
