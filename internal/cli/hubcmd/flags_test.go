package hubcmd

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub"
	"github.com/slipway-ci/slipway/internal/cli/clitest"
	"github.com/slipway-ci/slipway/internal/cli/command"
	"github.com/slipway-ci/slipway/tokens"
)

func TestWhatIsWrongIsSaidInFlags(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*hub.Config)
		want   string
	}{
		"beyond loopback": {func(c *hub.Config) { c.Listen = ":80" }, `--listen is ":80": beyond loopback --tls-cert and --tls-key are needed, or --insecure-http must be set`},
		"half of TLS":     {func(c *hub.Config) { c.TLSKey = "key" }, "--tls-cert and --tls-key go together: one of them is empty"},
		"no certificate":  {func(c *hub.Config) { c.TLSCert, c.TLSKey = "no.pem", "no.key" }, "--tls-cert and --tls-key: open no.pem: no such file or directory"},
		"a public URL":    {func(c *hub.Config) { c.PublicURL = "ftp://PublicURL" }, "--public-url is no plain URL: https://, a host, and where needed a port and a path are allowed"},
		"the wrong token": {func(c *hub.Config) { c.Shipfox.URL, c.Shipfox.Token = "http://127.0.0.1:1", tokens.New(tokens.Admin) }, "SLIPWAY_SHIPFOX_TOKEN is "},
		"no token":        {func(c *hub.Config) { c.Shipfox.URL = "http://127.0.0.1:1" }, "SLIPWAY_SHIPFOX_TOKEN is empty: a provisioner's token is needed"},
		"another agent":   {func(c *hub.Config) { c.LocalAgentToken = tokens.New(tokens.Admin) }, "SLIPWAY_LOCAL_AGENT_TOKEN is "},
		"a short lease":   {func(c *hub.Config) { c.LeaseTTL = 1 }, "--lease-ttl is 1ns: more than 10s is needed"},
		"no table":        {func(c *hub.Config) { c.Heartbeat = -1 }, "--heartbeat is -1ns: it can't be negative"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := hub.Config{DataDir: filepath.Join(t.TempDir(), "data"), Listen: "127.0.0.1:0"}
			test.change(&cfg)
			_, err := hub.Open(t.Context(), cfg)
			require.ErrorIs(t, err, hub.ErrConfig)
			text := inFlags(err)
			require.Contains(t, text, test.want)
			require.Equal(t, test.want, text[:len(test.want)], "nothing stands before what is wrong")
			require.NoDirExists(t, cfg.DataDir, "nothing is made by a start that can't be")
		})
	}
	require.Equal(t, "--listen is ListenX", inFlags(fmt.Errorf("%w: %w", hub.ErrConfig, errors.New("Listen is ListenX"))))
}

// What is wrong with the call is a wrong call, and a token that nobody saw is not
// lost for good.
func TestWrongStarts(t *testing.T) {
	start := func(args ...string) clitest.Result {
		return clitest.Run(t, Root, nil, append([]string{"--listen", "127.0.0.1:0", "--data", filepath.Join(t.TempDir(), "data")}, args...)...)
	}
	res := start("--allowed-binds", "/ok,rel")
	require.Equal(t, command.ExitUsage, res.Code, res.Stderr)
	require.Equal(t, "slipway-hub: --allowed-binds has \"rel\": absolute paths are needed (see slipway-hub --help)\n", res.Stderr)
	for _, variable := range []string{keyVariable, previousVariable} {
		t.Run(variable, func(t *testing.T) {
			t.Setenv(variable, "canary")
			res := start()
			require.Equal(t, command.ExitUsage, res.Code, res.Stderr)
			require.Contains(t, res.Stderr, "slipway-hub: "+variable+": ")
			require.NotContains(t, res.Stderr, "canary")
		})
	}
	c := Root()
	var stderr bytes.Buffer
	c.SetOut(full{})
	c.SetErr(&stderr)
	data := filepath.Join(t.TempDir(), "data")
	require.Equal(t, command.ExitFailed, command.Run(c, []string{"--listen", "127.0.0.1:0", "--data", data, "--container-bridges=false", "--log-level", "error"}))
	require.Contains(t, stderr.String(), "print the admin token: no space left on device: it is made, and can't be shown again; slipway-hub --new-admin-token prints another")
}

// full is a standard output that takes nothing.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

func TestEveryFieldNamesAFlagThatThereIs(t *testing.T) {
	flags := map[string]bool{"SLIPWAY_SHIPFOX_TOKEN": true, "SLIPWAY_LOCAL_AGENT_TOKEN": true}
	Root().Flags().VisitAll(func(f *pflag.Flag) { flags["--"+f.Name] = true })
	for field, flag := range flagOf {
		require.True(t, flags[flag], "%s is said to be %s", field, flag)
	}
}
