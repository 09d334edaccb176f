package agentd

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/internal/release"
)

// unit is the installed program as a service: it is started again when it ends
// badly, as systemd does.
type unit struct {
	t         *testing.T
	hub       *hub
	key       release.PrivateKey
	data      string
	installed string
	log       *lines
	done      chan struct{} // closed when it ended well
	stop      context.CancelFunc
	pids      chan int
}

// variantOf writes this test program as a variant.
func variantOf(t *testing.T, path, version, mode string) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	from, err := os.Open(self)
	require.NoError(t, err)
	defer from.Close()
	// A child that is forked meanwhile would hold the file open for writing, and such
	// a file can't be executed.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	to, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
	require.NoError(t, err)
	_, err = io.Copy(to, from)
	require.NoError(t, err)
	_, err = to.Write(tail(version, mode))
	require.NoError(t, err)
	require.NoError(t, to.Close())
}

// newUnit enrols a host and starts the installed program, v1.0.0.
func newUnit(t *testing.T) *unit {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("a program with a tail is for Linux here")
	}
	u := &unit{t: t, hub: newHub(t), log: &lines{}, done: make(chan struct{}), pids: make(chan int, 100)}
	var public release.PublicKey
	var err error
	u.key, public, err = release.GenerateKey()
	require.NoError(t, err)
	u.hub.set(func() { u.hub.files["update-key.pub"] = []byte(public.Text()) })
	u.data = u.hub.enrolHere(t)
	u.installed = filepath.Join(t.TempDir(), "slipway-agent")
	variantOf(t, u.installed, "v1.0.0", "good")
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	u.stop = stop
	go u.supervise(ctx)
	t.Cleanup(func() {
		stop()
		<-u.done
		if t.Failed() {
			t.Logf("the program wrote:\n%s", u.log)
		}
	})
	return u
}

func (u *unit) supervise(ctx context.Context) {
	defer close(u.done)
	for ctx.Err() == nil {
		c := exec.CommandContext(ctx, u.installed, "run", "--data", u.data, "--backend", "process", "--log-level", "debug")
		c.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + u.data, "GORACE=atexit_sleep_ms=0"}
		c.Stdout, c.Stderr = u.log, u.log
		c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
		c.WaitDelay = 10 * time.Second
		if err := c.Start(); err != nil {
			if ctx.Err() == nil {
				u.t.Error(err)
			}
			return
		}
		select {
		case u.pids <- c.Process.Pid:
		default: // it ends again and again: the test says so
		}
		if c.Wait() == nil {
			return
		}
	}
}

// serve has the hub serve a variant, signed.
func (u *unit) serve(version, mode string) {
	u.t.Helper()
	path := filepath.Join(u.t.TempDir(), "program")
	variantOf(u.t, path, version, mode)
	m, err := release.Describe(path, version, runtime.GOOS, runtime.GOARCH)
	require.NoError(u.t, err)
	m, err = release.Sign(m, u.key)
	require.NoError(u.t, err)
	program, err := os.ReadFile(path)
	require.NoError(u.t, err)
	name := "slipway-agent-" + runtime.GOOS + "-" + runtime.GOARCH
	u.hub.set(func() { u.hub.files[name], u.hub.files[name+".manifest"] = program, m.Text() })
}

func order(c *conn, version string) frame {
	return c.ask(frame{"type": "update", "id": 7, "timeout_ms": 60000, "version": version})
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	u := newUnit(t)
	c := u.hub.session()
	require.Equal(t, "v1.0.0", c.hello.text("hello", "version"))
	c.wait("the full list", func(f frame) bool { return f.text("type") == "runners" })
	first, second := launch(t, c, 1, "sleep", "600"), launch(t, c, 2, "sleep", "600")
	require.Contains(t, order(c, "v1.1.0").text("error", "message"), "not fetched", "the hub has none")

	u.serve("v1.1.0", "good")
	require.Nil(t, order(c, "v1.1.0")["error"])
	c = u.hub.session()
	require.Equal(t, "v1.1.0", c.hello.text("hello", "version"))
	require.Empty(t, c.hello.text("hello", "facts", "hints", "update_problem"))
	told(c, second, "running") // runners don't notice
	eventually(t, func() bool { return strings.Contains(u.log.String(), "update done") }, "it is never done")
	require.Len(t, u.pids, 1, "the same process: nobody who looks after it notices")
	pid := <-u.pids
	require.Nil(t, c.ask(frame{"type": "remove", "id": 9, "timeout_ms": 20000, "runner": first})["error"])
	eventually(t, func() bool { return zombies(pid) == 0 }, "supervisors of the time before stay as zombies")

	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	c = u.hub.session()
	require.Equal(t, "v1.1.0", c.hello.text("hello", "version"), "it stays after a crash later on")
	require.NotNil(t, order(c, "v1.0.0")["error"], "never back on the hub's word")
	require.Nil(t, c.ask(frame{"type": "remove", "id": 9, "timeout_ms": 20000, "runner": second})["error"])
}

// zombies counts the dead children of a process.
func zombies(pid int) (n int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		data, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(data), ") ")
		if fields := strings.Fields(rest); len(fields) > 1 && fields[0] == "Z" && fields[1] == strconv.Itoa(pid) {
			n++
		}
	}
	return n
}

func TestAnUpdateThatDoesNotReachTheHubGoesBack(t *testing.T) {
	t.Parallel()
	u := newUnit(t)
	u.serve("v1.1.0", "hasty")
	c := u.hub.session()
	u.hub.set(func() { u.hub.deaf = true }) // to the next connection, not to this one
	require.Nil(t, order(c, "v1.1.0")["error"])
	eventually(t, func() bool { return strings.Contains(u.log.String(), "a new version is on trial") }, "it never starts")
	eventually(t, func() bool { return strings.Contains(u.log.String(), "update goes back") }, "it never goes back")
	u.hub.set(func() { u.hub.deaf = false })
	c = u.hub.session()
	require.Equal(t, "v1.0.0", c.hello.text("hello", "version"))
	require.Contains(t, c.hello.text("hello", "facts", "hints", "update_problem"), "v1.1.0: no welcome from the hub within 3s; back to the installed program")
	require.Len(t, u.pids, 1)
}

func TestAnUpdateThatDoesNotRunGoesBackAtOnce(t *testing.T) {
	t.Parallel()
	u := newUnit(t)
	u.serve("v1.1.0", "broken")
	require.Nil(t, order(u.hub.session(), "v1.1.0")["error"])
	c := u.hub.session()
	require.Equal(t, "v1.0.0", c.hello.text("hello", "version"))
	require.Contains(t, c.hello.text("hello", "facts", "hints", "update_problem"), "policy: ")
	require.Len(t, u.pids, 1, "nobody had to start it again")
}

func TestAnUpdateThatCrashesGoesBack(t *testing.T) {
	t.Parallel()
	u := newUnit(t)
	u.serve("v1.1.0", "crash")
	c := u.hub.session()
	require.Nil(t, order(c, "v1.1.0")["error"])
	c = u.hub.session()
	require.Equal(t, "v1.0.0", c.hello.text("hello", "version"))
	require.Contains(t, c.hello.text("hello", "facts", "hints", "update_problem"), "it was started 3 times and never welcomed")
	require.Equal(t, 3, strings.Count(u.log.String(), "this variant crashes"))

	u.serve("v1.1.1", "good")
	require.Nil(t, order(c, "v1.1.1")["error"], "the next one is as good as the first")
	c = u.hub.session()
	require.Equal(t, "v1.1.1", c.hello.text("hello", "version"))
	require.Empty(t, c.hello.text("hello", "facts", "hints", "update_problem"))
}

func TestThePolicyForbidsUpdates(t *testing.T) {
	h := newHub(t)
	policy := filepath.Join(t.TempDir(), "agent.yaml")
	require.NoError(t, os.WriteFile(policy, []byte("version: 1\nupdates: false\n"), 0o600))
	start(t, h.enrolHere(t), func(c *Config) { c.Policy = policy })
	c := h.session()
	facts, _ := c.hello["hello"].(map[string]any)["facts"].(map[string]any)
	require.Equal(t, true, facts["update_forbidden"])
	require.Contains(t, c.hello.text("hello", "facts", "hints", "update_forbidden"), "policy")
	answer := order(c, "v1.1.0")
	require.Contains(t, answer.text("error", "message"), "forbidden on this host")
}
