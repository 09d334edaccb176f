//go:build unix

package spool

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	commands "github.com/slipway-ci/slipway/examples/backend"
	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/template"
)

// The loop between the two examples: a folder of jobs, run as commands.
func TestTheLoopRunsAFolderOfJobs(t *testing.T) {
	dir := t.TempDir()
	jobs, err := Open(dir)
	require.NoError(t, err)
	for i := range 5 {
		submit(t, dir, fmt.Sprintf("linux,job-%d", i), fmt.Sprintf("echo %d > %s/result-%d", i, dir, i))
	}
	submit(t, dir, "linux,job-that-fails", "exit 3")

	loop, err := provisioner.New(provisioner.Config{
		ControlPlane: jobs,
		Backend:      commands.New(3),
		Templates:    []template.Template{{Key: "shell", Labels: []string{"linux"}, CPU: 1, Memory: 1 << 20, MaxConcurrency: 3}},
		Limits:       provisioner.Limits{ListInterval: 100 * time.Millisecond},
	})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- loop.Run(ctx) }()

	require.Eventually(t, func() bool { return count(t, dir, "done") == 5 && count(t, dir, "failed") == 1 }, 30*time.Second, 20*time.Millisecond,
		"five jobs succeed and one fails")
	stop()
	require.NoError(t, <-ended)
	for i := range 5 {
		result, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("result-%d", i)))
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintln(i), string(result))
	}
	for _, state := range []string{"queue", "granted", "taken", "running"} {
		require.Zero(t, count(t, dir, state), "jobs left in %s", state)
	}
}

func count(t *testing.T, dir, state string) int {
	files, err := os.ReadDir(filepath.Join(dir, state))
	require.NoError(t, err)
	return len(files)
}
