package install_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/install"
	"github.com/slipway-ci/slipway/internal/release"
)

func TestVersionsOfTheFolder(t *testing.T) {
	require.Empty(t, install.Versions(""))
	dir := t.TempDir()
	require.Empty(t, install.Versions(dir))
	private, _, err := release.GenerateKey()
	require.NoError(t, err)
	for name, version := range map[string]string{"slipway-agent-linux-amd64": "1.4.0", "slipway-agent-linux-arm64": "1.4.0", "slipway-agent-darwin-arm64": "1.3.0", "slipway-agent-other": "9.0.0"} {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(name), 0o755))
		m, err := release.Describe(path, version, "linux", "amd64")
		require.NoError(t, err)
		m, err = release.Sign(m, private)
		require.NoError(t, err)
		require.NoError(t, release.Write(path+".manifest", m))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "slipway-agent-linux-386.manifest"), []byte("?"), 0o644))
	require.Equal(t, []string{"1.3.0", "1.4.0"}, install.Versions(dir))
}
