package runner

import (
	"encoding/pem"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestOutcomes(t *testing.T) {
	number := func(n int) *int { return &n }
	for name, c := range map[string]struct {
		job  map[string]any
		want result
		log  string
	}{
		"exit code":         {script("exit 7"), result{"failed", number(7), "exit code 7", 0}, ""},
		"sh -e":             {script("false", "echo never"), result{"failed", number(1), "exit code 1", 0}, ""},
		"signal":            {script("kill -SEGV $$"), result{"failed", number(139), "exit code 139", 0}, ""},
		"command":           {map[string]any{"command": []string{"printf", "%s", "$HOME no shell"}}, result{"succeeded", number(0), "", 14}, "$HOME no shell"},
		"no program":        {map[string]any{"command": []string{"no-such-program"}}, result{"failed", nil, `start job: "no-such-program" is not in PATH`, 0}, ""},
		"nothing":           {nil, result{"failed", nil, "start job: it has neither run nor command", 0}, ""},
		"binary":            {script(`printf '\000\377\200no newline'`), result{"succeeded", number(0), "", 13}, "\x00\xff\x80no newline"},
		"timeout":           {with(script("trap 'echo ending; exit 3' TERM", "sleep 60 & wait"), "timeout_seconds", 2), result{"timed-out", number(3), "timeout", 7}, "ending\n"},
		"no stdin":          {script("cat"), result{"succeeded", number(0), "", 0}, ""},
		"long script":       {script(": "+strings.Repeat("x", 250<<10), "echo done"), result{"succeeded", number(0), "", 5}, "done\n"},
		"read-only folders": {script("mkdir -p a/b", "chmod 500 a/b a"), result{"succeeded", number(0), "", 0}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHub(t, c.job)
			require.Equal(t, c.want, launch(t, h).ok(h))
			require.Equal(t, c.log, h.logged())
		})
	}
}

func TestAJobThatIgnoresItsEndIsKilled(t *testing.T) {
	t.Parallel()
	h, killed := newHub(t, with(script("trap '' TERM", "sleep 60"), "timeout_seconds", 2)), 137
	require.Equal(t, result{"timed-out", &killed, "timeout", 0}, launch(t, h, "RUNNER_TEST_GRACE=300ms").ok(h))
}

func TestCancel(t *testing.T) {
	t.Parallel()
	h := newHub(t, script("trap 'echo told; exit 0' TERM", "echo up", "sleep 60 & wait"))
	r := launch(t, h)
	waitLog(t, h, "up\n")
	h.set(func() { h.cancel = true })
	res := r.ok(h)
	require.Equal(t, "cancelled", res.Outcome, "an exit code of 0 does not make it a success")
	require.Equal(t, "up\ntold\n", h.logged())
}

func TestRunnerStopped(t *testing.T) {
	t.Parallel()
	h := newHub(t, script("echo up", "sleep 60"))
	r := launch(t, h)
	waitLog(t, h, "up\n")
	require.NoError(t, r.cmd.Process.Signal(syscall.SIGTERM))
	res := r.ok(h)
	require.Equal(t, "cancelled", res.Outcome)
	require.Equal(t, "runner-stopped", res.Reason)
}

func TestLifetime(t *testing.T) {
	t.Parallel()
	h := newHub(t, script("sleep 60"))
	res := launch(t, h, envLifetime+"=3").ok(h)
	require.Equal(t, "timed-out", res.Outcome)
	require.Equal(t, "runner-lifetime", res.Reason)
}

// Whatever a job leaves behind ends with it: children in the background, and
// those that went into a session of their own.
func TestNothingStays(t *testing.T) {
	for name, ending := range map[string]string{"ended": "", "was ended": "sleep 60"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHub(t, script("sleep 61 & echo $!", "setsid sh -c 'trap \"\" TERM; echo $$; : >there; exec sleep 62' &",
				"until test -e there; do sleep 0.05; done", "echo up", ending))
			r := launch(t, h)
			waitLog(t, h, "up\n")
			h.set(func() { h.cancel = true })
			r.ok(h)
			pids := regexp.MustCompile(`\d+`).FindAllString(h.logged(), -1)
			require.Len(t, pids, 2, "%s", h.logged())
			for _, pid := range pids {
				gone(t, pid)
			}
		})
	}
}

// An orphan's parent is the runner: as process 1 of a container nobody else
// would collect it.
func TestOrphansAreReaped(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("there is no /proc here")
	}
	h := newHub(t, script("orphan=$(sh -c 'sleep 0.1 >/dev/null & echo $!')",
		"for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do", "  test -e /proc/$orphan || exit 0", "  sleep 0.2", "done",
		"cat /proc/$orphan/stat; exit 1"))
	require.Equal(t, "succeeded", launch(t, h).ok(h).Outcome, "%s", h.logged())
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	h := newHub(t, script("trap '' TERM", "echo $$ up", "sleep 60"))
	r := launch(t, h)
	waitLog(t, h, "up\n")
	require.NoError(t, r.cmd.Process.Signal(syscall.SIGTERM))
	waitText(t, r, "ending job")
	require.Eventually(t, func() bool { // one that comes too soon counts as the first
		return r.cmd.Process.Signal(syscall.SIGTERM) != nil
	}, 30*time.Second, 50*time.Millisecond, "the second signal must end the runner")
	<-r.done
	gone(t, strings.Fields(h.logged())[0])
}

func with(job map[string]any, key string, value any) map[string]any {
	job[key] = value
	return job
}

func waitLog(t *testing.T, h *fakeHub, text string) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Contains(h.logged(), text) }, 30*time.Second, 10*time.Millisecond)
}

func waitText(t *testing.T, r *testRunner, text string) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Contains(r.text(), text) }, 30*time.Second, 10*time.Millisecond,
		"%s", fmt.Sprintf("%q is not told", text))
}

func certificateFile(t *testing.T, s *httptest.Server) string {
	file := filepath.Join(t.TempDir(), "roots.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	require.NoError(t, os.WriteFile(file, text, 0o600))
	return file
}
