package runner

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-ci/slipway/tokens"
)

// envMode makes the test's binary be the runner, or a job that looks around.
const envMode = "RUNNER_TEST_MODE"

func TestMain(m *testing.M) {
	switch os.Getenv(envMode) {
	case "runner":
		os.Exit(testProgram())
	case "spy":
		os.Exit(spy(os.Args[1]))
	case "bare":
		os.Exit(bare())
	}
	goleak.VerifyTestMain(m)
}

// testProgram is Main with short waits, and an eye on what it leaves running.
func testProgram() int {
	code := program(nil, os.Environ(), os.Stderr, func(c *Config) {
		c.grace, c.stall = 20*time.Second, time.Second
		if grace, err := time.ParseDuration(os.Getenv("RUNNER_TEST_GRACE")); err == nil {
			c.grace = grace
		}
	})
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 99
	}
	return code
}

// program is a runner as a process of its own: it owns it.
type testRunner struct {
	t      *testing.T
	hub    *fakeHub
	cmd    *exec.Cmd
	tmp    string
	token  tokens.Token
	mu     sync.Mutex
	stderr bytes.Buffer
	done   chan struct{}
}

func (r *testRunner) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stderr.Write(p)
}

// launch starts a runner against the hub with more settings, "NAME=" takes one away.
func launch(t *testing.T, h *fakeHub, settings ...string) *testRunner {
	t.Helper()
	r := &testRunner{t: t, hub: h, tmp: t.TempDir(), token: tokens.New(tokens.EphemeralRegistration), done: make(chan struct{})}
	r.cmd = exec.Command(os.Args[0])
	r.cmd.Env = append([]string{
		envMode + "=runner", "GORACE=atexit_sleep_ms=0", "PATH=" + os.Getenv("PATH"), "TMPDIR=" + r.tmp,
		envURL + "=" + h.url, envLabels + "=Linux, x64", envRegistration + "=" + r.token.Reveal(), envPoll + "=20000",
	}, settings...)
	r.start()
	return r
}

func (r *testRunner) start() {
	r.hub.start()
	r.cmd.Stderr, r.cmd.Stdout = r, io.Discard
	require.NoError(r.t, r.cmd.Start())
	go func() {
		defer close(r.done)
		_ = r.cmd.Wait()
	}()
	r.t.Cleanup(func() {
		_ = r.cmd.Process.Kill()
		<-r.done
	})
}

// exit waits for the end, and checks what must be so of every run.
func (r *testRunner) exit() int {
	r.t.Helper()
	select {
	case <-r.done:
	case <-time.After(30 * time.Second):
		_ = r.cmd.Process.Signal(syscall.SIGQUIT)
		<-r.done
		r.t.Fatalf("the runner does not end:\n%s", r.text())
	}
	r.hub.set(func() {}) // what its handlers wrote may be read now
	require.NotContains(r.t, r.text(), r.token.Reveal()[len(r.token.Prefix()):], "a credential must not be told")
	left, err := filepath.Glob(filepath.Join(r.tmp, "slipway-job-*"))
	require.NoError(r.t, err)
	require.Empty(r.t, left, "the work folder must go")
	return r.cmd.ProcessState.ExitCode()
}

func (r *testRunner) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stderr.String()
}

// ok asserts an exit with 0 and returns the result.
func (r *testRunner) ok(h *fakeHub) result {
	r.t.Helper()
	require.Equal(r.t, ExitDone, r.exit(), "%s", r.text())
	res := h.result()
	if n := len(h.logged()); n > 0 && res.LogBytes != int64(n) {
		r.t.Errorf("log_bytes is %d, %d were sent", res.LogBytes, len(h.logged()))
	}
	return res
}

func script(lines ...string) map[string]any { return map[string]any{"run": strings.Join(lines, "\n")} }

// gone waits for the end of a process that is not our child.
func gone(t *testing.T, pid string) {
	t.Helper()
	require.Eventually(t, func() bool {
		_, err := os.Stat("/proc/" + strings.TrimSpace(pid))
		return os.IsNotExist(err)
	}, 30*time.Second, 10*time.Millisecond, "process %s goes on", pid)
}
