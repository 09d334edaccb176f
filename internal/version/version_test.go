package version

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFromBuild(t *testing.T) {
	info := func(version string, settings ...debug.BuildSetting) *debug.BuildInfo {
		return &debug.BuildInfo{Main: debug.Module{Version: version}, Settings: settings}
	}
	revision := debug.BuildSetting{Key: "vcs.revision", Value: "0123456789abcdef0123456789abcdef01234567"}
	modified := debug.BuildSetting{Key: "vcs.modified", Value: "true"}

	require.Equal(t, "v1.2.3", fromBuild(info("v1.2.3", revision)))
	require.Equal(t, "0123456789ab", fromBuild(info("(devel)", revision)))
	require.Equal(t, "0123456789ab-dirty", fromBuild(info("", revision, modified)))
	require.Equal(t, "dev", fromBuild(info("(devel)", modified)))
}

func TestTheLinkerWins(t *testing.T) {
	t.Cleanup(func() { Version = "" })
	Version = "v9"
	require.Equal(t, "v9", String())
	require.Regexp(t, `^slipway v9 go\S+ \w+/\w+$`, Line("slipway"))
}
