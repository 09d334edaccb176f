package hub_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/internal/cli/hubcmd"
)

// What the unit runs is there, and systemd understands the rest.
func TestUnit(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "deploy", "slipway-hub.service"))
	require.NoError(t, err)
	line := regexp.MustCompile(`(?m)^ExecStart=(.*)$`).FindStringSubmatch(string(text))
	require.NotNil(t, line)
	for _, flag := range regexp.MustCompile(`--([a-z-]+)`).FindAllStringSubmatch(line[1], -1) {
		require.NotNil(t, hubcmd.Root().Flags().Lookup(flag[1]), "--%s", flag[1])
	}
	for _, variable := range regexp.MustCompile(`SLIPWAY_([A-Z_]+)`).FindAllStringSubmatch(string(text), -1) {
		require.NotNil(t, hubcmd.Root().Flags().Lookup(strings.ToLower(strings.ReplaceAll(variable[1], "_", "-"))), variable[0])
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("no systemd-analyze here")
	}
	program := filepath.Join(t.TempDir(), "slipway-hub") // systemd looks whether it is there
	require.NoError(t, os.WriteFile(program, []byte("#!/bin/sh\n"), 0o700))
	unit := filepath.Join(t.TempDir(), "slipway-hub.service")
	require.NoError(t, os.WriteFile(unit, []byte(strings.ReplaceAll(string(text), "/usr/local/bin/slipway-hub", program)), 0o600))
	out, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", unit).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NotContains(t, string(out), "slipway-hub.service:")
}
