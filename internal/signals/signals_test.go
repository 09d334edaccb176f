package signals_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/internal/signals"
)

const role = "SIGNALS_TEST_ROLE"

// TestMain is also the program that the tests send signals to.
func TestMain(m *testing.M) {
	if os.Getenv(role) == "" {
		os.Exit(m.Run())
	}
	var on []os.Signal
	if os.Getenv(role) == "hangup" {
		on = []os.Signal{syscall.SIGHUP, syscall.SIGTERM}
	}
	ctx, _ := signals.Interruptible(os.Stdout, on...)
	if os.Getenv(role) == "leaving" {
		signals.Leaving(ctx, func() string { return "not this" })
		below, cancel := context.WithCancel(ctx)
		defer cancel()
		signals.Leaving(below, func() string { return "a folder is left" })
	}
	fmt.Println("running")
	<-ctx.Done()
	fmt.Println(context.Cause(ctx))
	select {} // a drain that takes for ever
}

// started is that program as a process, and the lines that it writes.
func started(t *testing.T, as string) (*exec.Cmd, func() string) {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), role+"="+as)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Wait() })
	lines := bufio.NewScanner(out)
	next := func() string {
		lines.Scan()
		return lines.Text()
	}
	require.Equal(t, "running", next())
	return cmd, next
}

// patience is for slow machines.
const patience = 10 * time.Second

func TestTheFirstEndsTheContextTheSecondTheProcess(t *testing.T) {
	t.Parallel()
	cmd, next := started(t, "leaving")
	began := time.Now()
	require.NoError(t, cmd.Process.Signal(syscall.SIGHUP), "it reloads, where anything does")
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.Equal(t, "interrupted by SIGTERM", next())
	// A program that signals the child and then its group means one signal.
	ended, left := make(chan error, 1), make(chan []string, 1)
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	go func() {
		last := []string{next(), next()}
		ended <- cmd.Wait()
		left <- last
	}()
	require.Eventually(t, func() bool { return cmd.Process.Signal(os.Interrupt) != nil }, patience, 20*time.Millisecond)
	require.Equal(t, []string{"interrupted twice: leaving at once", "a folder is left"}, <-left)
	require.GreaterOrEqual(t, time.Since(began), 500*time.Millisecond, "what comes at once is the first, sent again")
	var exit *exec.ExitError
	require.ErrorAs(t, <-ended, &exit)
	require.Equal(t, 128+int(syscall.SIGINT), exit.ExitCode())
}

func TestAHangUpInterruptsWhereItIsAskedFor(t *testing.T) {
	t.Parallel()
	cmd, next := started(t, "hangup")
	require.NoError(t, cmd.Process.Signal(syscall.SIGHUP))
	require.Equal(t, "interrupted by SIGHUP", next())
}

func TestLeavingElsewhereIsNothing(t *testing.T) {
	signals.Leaving(t.Context(), func() string { return "nobody asks" })
}

func TestStopEndsTheContextWithoutACause(t *testing.T) {
	ctx, stop := signals.Interruptible(os.Stderr)
	stop()
	select {
	case <-ctx.Done():
		require.Equal(t, context.Canceled, context.Cause(ctx))
	case <-time.After(patience):
		t.Fatal("the context goes on")
	}
}
