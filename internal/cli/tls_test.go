package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/internal/cli/clitest"
	"github.com/slipway-ci/slipway/internal/cli/command"
	"github.com/slipway-ci/slipway/internal/cli/remote"
)

// A hub with a certificate of an authority of its own is reached with SLIPWAY_CA_FILE,
// and whatever is wrong is told with what to do, in one line and at once.
func TestHubsOverTLS(t *testing.T) {
	hub := func(t *testing.T) (h *clitest.Hub, url string) {
		h, authority := clitest.NewTLS(t)
		h.On("GET whoami", ok("whoami.json")).On("GET jobs/x?wait_seconds=30", clitest.Answer{Body: `{"id":"x","status":"succeeded","finished_at":"2026-01-02T03:04:05Z"}`})
		t.Setenv(remote.EnvCA, authority)
		return h, os.Getenv(remote.EnvURL)
	}
	t.Run("trusted", func(t *testing.T) {
		h, _ := hub(t)
		res := h.Run(Root, nil, "whoami")
		require.Equal(t, command.ExitOK, res.Code, res.Stderr)
		require.Contains(t, res.Stdout, "role")
	})
	for name, c := range map[string]struct {
		spoil func(t *testing.T, url string)
		code  int
		want  []string
	}{
		"an unknown authority": {func(t *testing.T, _ string) { t.Setenv(remote.EnvCA, "") }, 1, []string{"set SLIPWAY_CA_FILE to it", "unknown authority"}},
		"another name": {func(t *testing.T, url string) {
			t.Setenv(remote.EnvURL, strings.Replace(url, "127.0.0.1", "localhost", 1))
		}, 1,
			[]string{"is SLIPWAY_URL right", "not localhost"}},
		"http to TLS": {func(t *testing.T, url string) { t.Setenv(remote.EnvURL, strings.Replace(url, "https", "http", 1)) }, 2,
			[]string{"SLIPWAY_URL: http://127.0.0.1:", "speaks TLS: its URL must begin with https://"}},
		"https to plain HTTP": {func(t *testing.T, _ string) {
			clitest.New(t)
			t.Setenv(remote.EnvURL, strings.Replace(os.Getenv(remote.EnvURL), "http", "https", 1))
		}, 2, []string{"speaks plain HTTP: its URL must begin with http://"}},
		"no such file": {func(t *testing.T, _ string) { t.Setenv(remote.EnvCA, filepath.Join(t.TempDir(), "none.pem")) }, 2, []string{"SLIPWAY_CA_FILE: open ", "none.pem"}},
		"no certificate": {func(t *testing.T, _ string) {
			empty := filepath.Join(t.TempDir(), "empty.pem")
			require.NoError(t, os.WriteFile(empty, []byte("x"), 0o600))
			t.Setenv(remote.EnvCA, empty)
		}, 2, []string{"SLIPWAY_CA_FILE: ", "has no certificate in PEM"}},
	} {
		for _, args := range []string{"whoami", "jobs wait x", "events --follow --after 1"} { // the last two are patient with what passes
			t.Run(name+"/"+args, func(t *testing.T) {
				h, url := hub(t)
				c.spoil(t, url)
				res := h.Run(Root, nil, strings.Fields(args)...)
				require.Equal(t, c.code, res.Code, res.Stderr)
				require.Equal(t, 1, strings.Count(res.Stderr, "\n"), res.Stderr)
				for _, want := range c.want {
					require.Contains(t, res.Stderr, want)
				}
			})
		}
	}
	t.Run("doctor", func(t *testing.T) {
		h, _ := hub(t)
		t.Setenv(remote.EnvCA, "")
		res := h.Run(Root, nil, "doctor", "--image", "slipway.invalid/none:1")
		require.Contains(t, res.Stdout, "SLIPWAY_CA_FILE names a file")
		require.Equal(t, command.ExitFailed, res.Code)
	})
}
