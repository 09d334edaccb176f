//go:build linux

package runner

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/slipway-ci/slipway/tokens"
)

// nobody is the user that runner and job run as when the test runs as root, whom
// no memory is closed to.
const nobody = 61234

// The job must find the runner's credential nowhere: a spy looks, and shows in a
// parent that does not hide that it can find it.
func TestJobReadsNoCredential(t *testing.T) {
	t.Parallel()
	program := forNobody(t)
	h := newHub(t, map[string]any{"command": []string{program, "4b2e-job"}, "env": map[string]string{envMode: "spy"}})
	r := &testRunner{t: t, hub: h, tmp: filepath.Dir(program), token: tokens.New(tokens.EphemeralRegistration), done: make(chan struct{})}
	r.cmd = asNobody(exec.Command(program))
	r.cmd.Env = []string{envMode + "=runner", "GORACE=atexit_sleep_ms=0", "TMPDIR=" + r.tmp, envURL + "=" + h.url, envLabels + "=x",
		envRegistration + "=" + r.token.Reveal(), envPoll + "=20000"}
	r.start()
	require.Equal(t, "succeeded", r.ok(h).Outcome, "%s", h.logged())
	log := h.logged()
	require.NotContains(t, log, r.token.Reveal()[len(r.token.Prefix()):])
	require.Equal(t, "environ: permission denied\nmem: permission denied\nmaps: permission denied\nptrace: operation not permitted\nfds: permission denied\n", log)
}

func TestSpySeesWhatIsNotHidden(t *testing.T) {
	t.Parallel()
	program := forNobody(t)
	secret := tokens.New(tokens.EphemeralRegistration).Reveal()
	cmd := asNobody(exec.Command(program))
	cmd.Env = []string{envMode + "=bare", "GORACE=atexit_sleep_ms=0", envRegistration + "=" + secret}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), secret, "a spy that sees nothing proves nothing")
	require.Contains(t, string(out), "mem: found\n")
}

// forNobody copies this program to where everybody may execute it.
func forNobody(t *testing.T) string {
	dir, err := os.MkdirTemp("", "runner-test-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o777))
	from, err := os.Open(os.Args[0])
	require.NoError(t, err)
	defer from.Close()
	file := filepath.Join(dir, "program")
	// A child that is forked meanwhile would hold the file open for writing, and such
	// a file can't be executed.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	to, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY, 0o755)
	require.NoError(t, err)
	_, err = io.Copy(to, from)
	require.NoError(t, err)
	require.NoError(t, to.Close())
	return file
}

func asNobody(cmd *exec.Cmd) *exec.Cmd {
	cmd.Dir = "/"
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	return cmd
}

// bare is a parent that hides nothing.
func bare() int {
	cmd := exec.Command("/proc/self/exe", "sf_ert_")
	cmd.Env = []string{envMode + "=spy", "GORACE=atexit_sleep_ms=0"}
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// spy looks into its parent for what, and tells.
func spy(what string) int {
	parent := "/proc/" + strconv.Itoa(os.Getppid())
	if text, err := os.ReadFile(parent + "/environ"); err != nil {
		fmt.Println("environ:", cause(err))
	} else {
		fmt.Printf("environ: %s\n", text)
	}
	mem, err := os.Open(parent + "/mem")
	if err != nil {
		fmt.Println("mem:", cause(err))
	}
	maps, err := os.ReadFile(parent + "/maps")
	if err != nil {
		fmt.Println("maps:", cause(err))
	}
	if mem != nil && inMemory(mem, string(maps), []byte(what)) {
		fmt.Println("mem: found")
	}
	if err := unix.PtraceSeize(os.Getppid()); err != nil {
		fmt.Println("ptrace:", err)
	}
	if _, err := os.ReadDir(parent + "/fd"); err != nil {
		fmt.Println("fds:", cause(err))
	}
	return 0
}

func inMemory(mem *os.File, maps string, what []byte) bool {
	for line := range strings.Lines(maps) {
		var from, to int64
		if _, err := fmt.Sscanf(line, "%x-%x r", &from, &to); err != nil || to-from > 64<<20 {
			continue
		}
		part := make([]byte, to-from)
		n, _ := mem.ReadAt(part, from)
		if bytes.Contains(part[:n], what) {
			return true
		}
	}
	return false
}

func cause(err error) error {
	for {
		inner, ok := err.(interface{ Unwrap() error })
		if !ok {
			return err
		}
		err = inner.Unwrap()
	}
}

// Not even who may read every process finds the credential where a process's
// environment and arguments are.
func TestCredentialLeavesTheEnvironment(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root may look into a process that hides")
	}
	h := newHub(t, script("echo up", "sleep 60"))
	r := launch(t, h)
	waitLog(t, h, "up\n")
	for _, file := range []string{"environ", "cmdline"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", r.cmd.Process.Pid, file))
		require.NoError(t, err)
		require.NotEmpty(t, text)
		require.NotContains(t, string(text), "sf_ert_", file)
	}
	require.NoError(t, r.cmd.Process.Signal(syscall.SIGTERM))
	require.Equal(t, "cancelled", r.ok(h).Outcome)
}

func TestOtherTokensAreDropped(t *testing.T) {
	mine, admin := tokens.New(tokens.Bootstrap).Reveal(), tokens.New(tokens.Admin).Reveal()
	open, secret := split([]string{"PATH=/bin", "SLIPWAY_TOKEN=" + admin, envBootstrap + "=" + mine})
	require.Equal(t, []string{"PATH=/bin"}, open, "who starts a runner by hand does not leave an admin's token to its job")
	require.Equal(t, []string{envBootstrap + "=" + mine}, secret)
}
