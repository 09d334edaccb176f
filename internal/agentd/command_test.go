package agentd

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/internal/agentd/identity"
	"github.com/slipway-ci/slipway/tokens"
)

// invocation is the program as one.
type invocation struct {
	t     *testing.T
	cmd   *exec.Cmd
	out   *lines
	ended chan struct{}
}

// begin starts the program with an environment of nothing but pairs.
func begin(t *testing.T, program, stdin string, env []string, args ...string) *invocation {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("a program with a tail is for Linux here")
	}
	p := &invocation{t: t, out: &lines{}, ended: make(chan struct{})}
	p.cmd = exec.Command(program, args...)
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "GORACE=atexit_sleep_ms=0"}, env...)
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = strings.NewReader(stdin), p.out, p.out
	p.cmd.WaitDelay = 2 * time.Second // runners may hold the output open
	require.NoError(t, p.cmd.Start())
	go func() {
		_ = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
		if t.Failed() {
			t.Logf("%s wrote:\n%s", strings.Join(args, " "), p.out)
		}
	})
	return p
}

// code waits for the end and returns the exit code.
func (p *invocation) code() int {
	p.t.Helper()
	select {
	case <-p.ended:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		_ = p.cmd.Process.Signal(syscall.SIGQUIT) // it says what it waits for
		select {
		case <-p.ended:
		case <-time.After(10 * time.Second):
		}
		p.t.Fatalf("it has not ended:\n%s", p.out)
		return -1
	}
}

func (p *invocation) says(text string) {
	p.t.Helper()
	eventually(p.t, func() bool { return strings.Contains(p.out.String(), text) }, "it never says %q", text)
}

func (p *invocation) signal(s syscall.Signal) { require.NoError(p.t, p.cmd.Process.Signal(s)) }

func good(t *testing.T) string { return programOf(t, "v1.0.0", "good") }

func TestTheWayOfAHost(t *testing.T) {
	h := newHub(t)
	data := filepath.Join(t.TempDir(), "data")
	clearLater(t, data)
	where := []string{"--data", data}
	status := func() string {
		p := begin(t, good(t), "", nil, append([]string{"status"}, where...)...)
		require.Equal(t, 0, p.code())
		return p.out.String()
	}
	p := begin(t, good(t), h.once.Reveal()+"\n", nil, "enrol", "--data", data, "--hub", h.url(), "--token-file", "-")
	require.Equal(t, 0, p.code())
	require.Contains(t, p.out.String(), "this machine is host builder-01 (host-1) of "+h.url())
	require.Regexp(t, `(?m)^running +no$`, status())

	a := begin(t, good(t), "", []string{"SLIPWAY_AGENT_BACKEND=process"}, append([]string{"run"}, where...)...)
	c := h.session()
	id := launch(t, c, 1, "sleep", "600")
	told(c, id, "running")
	eventually(t, func() bool { return strings.Contains(status(), "yes, to "+h.url()) }, "%s", status())
	require.Regexp(t, `(?m)^policy +default`, status())
	require.Regexp(t, `(?m)^updates +none: no key`, status())

	p = begin(t, good(t), "", nil, "purge", "--all", "--yes", "--backend", "process", "--data", data)
	require.Equal(t, 1, p.code())
	require.Contains(t, p.out.String(), "the agent runs: stop it first")

	a.signal(syscall.SIGTERM)
	require.Equal(t, 0, a.code())
	p = begin(t, good(t), "", nil, "purge", "--backend", "process", "--data", data)
	require.Equal(t, 2, p.code(), "nobody can be asked")
	p = begin(t, good(t), "", nil, "purge", "--yes", "--backend", "process", "--data", data)
	require.Equal(t, 0, p.code())
	require.Contains(t, p.out.String(), "removed 0 runners of owner-1", "what runs is left without --all")
	p = begin(t, good(t), "", nil, "purge", "--yes", "--with-data", "--backend", "process", "--data", data)
	require.Equal(t, 2, p.code())
	p = begin(t, good(t), "", nil, "purge", "--yes", "--all", "--with-data", "--backend", "process", "--data", data)
	require.Equal(t, 0, p.code())
	require.Contains(t, p.out.String(), "removed 1 runner of owner-1")
	require.NoDirExists(t, data)
	p = begin(t, good(t), "", nil, append([]string{"status"}, where...)...)
	require.Equal(t, 1, p.code())
	require.Contains(t, p.out.String(), "there is no agent in "+data)
}

func TestStatusForPrograms(t *testing.T) {
	h := newHub(t)
	data := h.enrolHere(t)
	p := begin(t, good(t), "", nil, "status", "--data", data, "-o", "json")
	require.Equal(t, 0, p.code())
	var s status
	require.NoError(t, json.Unmarshal([]byte(p.out.String()), &s))
	require.Equal(t, "builder-01", s.Host)
	require.True(t, s.Enrolled)
	require.False(t, s.Running)
	require.Nil(t, s.Now)
}

func TestWhereTokensComeFrom(t *testing.T) {
	h := newHub(t)
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte(h.once.Reveal()+"\n"), 0o600))
	for name, c := range map[string]struct {
		stdin string
		env   []string
		args  []string
		code  int
		says  string
	}{
		"a file":             {args: []string{"--token-file", file}},
		"standard input":     {stdin: h.once.Reveal(), args: []string{"--token-file", "/dev/stdin"}},
		"a variable":         {env: []string{"SLIPWAY_ENROLMENT_TOKEN=" + h.once.Reveal()}},
		"a variable's file":  {env: []string{"SLIPWAY_ENROLMENT_TOKEN_FILE=" + file}},
		"nowhere":            {code: 2, says: "the enrolment token is missing"},
		"an empty input":     {args: []string{"--token-file", "-"}, code: 1, says: "standard input is empty"},
		"a file that is not": {args: []string{"--token-file", file + ".not"}, code: 1, says: "no such file"},
		"another kind":       {stdin: tokens.New(tokens.Admin).Reveal(), args: []string{"--token-file", "-"}, code: 2, says: "sf_het_"},
		"an argument":        {args: []string{h.once.Reveal()}, code: 2, says: "one argument too many"},
	} {
		t.Run(name, func(t *testing.T) {
			h.set(func() { h.agent = "" })
			args := append([]string{"enrol", "--data", filepath.Join(t.TempDir(), "data"), "--hub", h.url()}, c.args...)
			p := begin(t, good(t), c.stdin, c.env, args...)
			require.Equal(t, c.code, p.code(), "%s", p.out)
			require.Contains(t, p.out.String(), c.says)
			require.NotContains(t, p.out.String(), h.once.Reveal()[12:])
		})
	}
}

func TestWrongSettings(t *testing.T) {
	for says, args := range map[string][]string{
		"docker or process is allowed": {"run", "--backend", "podman"},
		"--host-root":                  {"run", "--host-root", "host"},
		"--http-addr":                  {"run", "--http-addr", "nine"},
		"--log-level":                  {"run", "--log-level", "loud"},
		"it must be https":             {"run", "--hub", "http://hub.example.com"},
		"there are":                    {"fly"},
	} {
		p := begin(t, good(t), "", nil, append(args, []string{"--data", t.TempDir() + "/data"}[:2*min(1, len(args)-1)]...)...)
		require.Equal(t, 2, p.code(), "%s: %s", args, p.out)
		require.Contains(t, p.out.String(), says)
	}
	p := begin(t, good(t), "", []string{LocalTokenEnv + "=" + tokens.New(tokens.Admin).Reveal()}, "run", "--data", t.TempDir()+"/data")
	require.Equal(t, 2, p.code())
	require.Contains(t, p.out.String(), "sf_agt_")
	p = begin(t, good(t), "", []string{LocalTokenEnv + "=" + tokens.New(tokens.Agent).Reveal()}, "run", "--data", t.TempDir()+"/data")
	require.Equal(t, 2, p.code())
	require.Contains(t, p.out.String(), "without --hub")
}

func TestSharedVariables(t *testing.T) {
	h := newHub(t)
	h.set(func() { h.deaf = true })
	data := h.enrolHere(t)
	p := begin(t, good(t), "", []string{"SLIPWAY_BACKEND=process", "SLIPWAY_LOG_LEVEL=debug", "SLIPWAY_AGENT_LOG_LEVEL=warn", "SLIPWAY_DATA=/nowhere", "SLIPWAY_AGENT_HTTP_ADDR=nine"},
		"run", "--data", data, "--http-addr", "off")
	p.says("no session with the hub")
	require.NotContains(t, p.out.String(), "INFO", "the agent's own variable wins over the shared one")
	p.signal(syscall.SIGTERM)
	require.Equal(t, 0, p.code())
}

func TestSignals(t *testing.T) {
	p := begin(t, programOf(t, "v1.0.0", "hang"), "", nil, "run")
	p.says("running")
	p.signal(syscall.SIGTERM)
	p.says("stopping")
	require.Eventually(t, func() bool { // one that comes too soon counts as the first
		return p.cmd.Process.Signal(syscall.SIGTERM) != nil
	}, patience, 50*time.Millisecond)
	require.Equal(t, 128+15, p.code(), "the second ends it at once")
}

func TestHangUpReadsThePolicy(t *testing.T) {
	h := newHub(t)
	policy := filepath.Join(t.TempDir(), "agent.yaml")
	rules := func(text string) { require.NoError(t, os.WriteFile(policy, []byte(text), 0o600)) }
	rules("version: 1\nmax_runners: 3\n")
	limit := func(c *conn) any { return c.hello["hello"].(map[string]any)["facts"].(map[string]any)["max_runners"] }
	p := begin(t, good(t), "", nil, "run", "--backend", "process", "--policy", policy, "--data", h.enrolHere(t))
	require.Equal(t, 3.0, limit(h.session()))
	rules("version: 1\nmax_runners: many\n")
	p.signal(syscall.SIGHUP)
	p.says("the policy stays as it was")
	p.signal(syscall.SIGHUP)
	eventually(t, func() bool { return strings.Count(p.out.String(), "the policy stays as it was") == 2 }, "it went on without a policy")
	rules("version: 1\nmax_runners: 5\n")
	p.signal(syscall.SIGHUP)
	require.Equal(t, 5.0, limit(h.session()))
	p.signal(syscall.SIGTERM)
	require.Equal(t, 0, p.code(), "it is the same process still")

	rules("version: 1\nmax_runner: 5\n")
	p = begin(t, good(t), "", nil, "run", "--backend", "process", "--policy", policy, "--data", h.enrolHere(t))
	require.Equal(t, 1, p.code(), "no agent without its policy")
	require.Contains(t, p.out.String(), "max_runner")
}

func TestNoHangUpIsLost(t *testing.T) {
	h := newHub(t)
	h.set(func() { h.deaf = true })
	seen := make(chan os.Signal, 1)
	signal.Notify(seen, syscall.SIGHUP)
	defer signal.Stop(seen)
	a := start(t, h.enrolHere(t), func(c *Config) {
		c.Logger = hclog.New(&hclog.LoggerOptions{Output: writer(func(line string) {
			if strings.Contains(line, "starting: ") { // the policy is read, its parts are yet to begin
				_ = syscall.Kill(os.Getpid(), syscall.SIGHUP)
				<-seen
			}
		})})
	})
	again := &Restart{}
	require.ErrorAs(t, a.ended(), &again)
	require.Equal(t, "the policy is read anew", again.Reason)
}

// writer is told each line of a log while its writer waits.
type writer func(line string)

func (w writer) Write(line []byte) (int, error) {
	w(string(line))
	return len(line), nil
}

func TestAStopIsHeededWhileItStartsAnew(t *testing.T) {
	h := newHub(t)
	h.set(func() { h.deaf = true })
	p := begin(t, good(t), "", nil, "run", "--backend", "process", "--data", h.enrolHere(t))
	p.says("starting")
	p.signal(syscall.SIGHUP)
	p.says("reading the policy anew")
	p.signal(syscall.SIGHUP)
	p.signal(syscall.SIGTERM)
	p.code()
	if status := p.cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signaled() {
		require.Equal(t, syscall.SIGTERM, status.Signal(), "the new program had yet to ask for it")
	} else {
		require.Equal(t, 0, status.ExitStatus())
	}
}

func TestSystemdIsTold(t *testing.T) {
	h := newHub(t)
	h.set(func() { h.deaf = true })
	socket := filepath.Join(t.TempDir(), "notify")
	if len(socket) > 100 {
		socket = filepath.Join(os.TempDir(), "n"+strconv.Itoa(os.Getpid()))
		t.Cleanup(func() { _ = os.Remove(socket) })
	}
	listener, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	require.NoError(t, err)
	defer listener.Close()
	p := begin(t, good(t), "", []string{"NOTIFY_SOCKET=" + socket, "WATCHDOG_USEC=300000"}, "run", "--backend", "process", "--data", h.enrolHere(t))
	expect := func(text string) {
		t.Helper()
		require.NoError(t, listener.SetReadDeadline(time.Now().Add(patience)))
		for buffer := make([]byte, 4096); ; {
			n, err := listener.Read(buffer)
			require.NoError(t, err, "%s is never told", text)
			if strings.Contains(string(buffer[:n]), text) {
				return
			}
		}
	}
	expect("READY=1") // no hub is no reason to fail the start
	expect("WATCHDOG=1")
	expect("WATCHDOG=1")
	h.set(func() { h.deaf = false })
	expect("STATUS=connected to " + h.url())
	p.signal(syscall.SIGTERM)
	expect("STOPPING=1")
	require.Equal(t, 0, p.code())
}

// TestNoSecretIsTold goes a host's whole way and searches all that anybody can see.
func TestNoSecretIsTold(t *testing.T) {
	h := newHub(t)
	data := filepath.Join(t.TempDir(), "data")
	clearLater(t, data)
	canary := tokens.New(tokens.EphemeralRegistration)
	p := begin(t, good(t), h.once.Reveal(), nil, "enrol", "--log-level", "trace", "--data", data, "--hub", h.url(), "--token-file", "-")
	require.Equal(t, 0, p.code())
	a := begin(t, good(t), "", nil, "run", "--backend", "process", "--log-level", "trace", "--data", data)
	c := h.session()
	made := uuid.Must(uuid.NewV7()).String()
	c.ask(frame{"type": "launch", "id": 1, "timeout_ms": 20000, "spec": frame{"id": made, "command": []string{"/no/such/program", canary.Reveal()}, "env": frame{"TOKEN": canary.Reveal()}}})
	require.NotEmpty(t, c.ask(frame{"type": "rotate", "id": 2, "timeout_ms": 5000}).text("digest"))
	c.ask(frame{"type": "update", "id": 3, "timeout_ms": 5000, "version": canary.Reveal()})
	folder, err := identity.Find(data)
	require.NoError(t, err)
	token, err := folder.Token()
	require.NoError(t, err)
	next, err := folder.Next()
	require.NoError(t, err)
	h.set(func() { h.digests = map[string]bool{} })
	h.hangUp()
	a.says("refused by the hub")
	eventually(t, func() bool {
		told, err := Config{Data: data}.status()
		return err == nil && strings.Contains(told.Now.connection(), "refuses this agent's token: it was revoked, or rotated")
	}, "its status says so, too")

	var all bytes.Buffer
	all.WriteString(p.out.String() + h.all())
	for _, name := range []string{"agent.json", "status.json", "update.json"} {
		text, _ := os.ReadFile(filepath.Join(data, name))
		all.Write(text)
	}
	for _, name := range []string{"cmdline", "environ"} {
		text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(a.cmd.Process.Pid), name))
		require.NoError(t, err)
		all.Write(text)
	}
	s := begin(t, good(t), "", nil, "status", "--data", data, "-o", "json")
	require.Equal(t, 0, s.code())
	a.signal(syscall.SIGTERM)
	require.Equal(t, 0, a.code())
	all.WriteString(s.out.String() + a.out.String())
	for what, secret := range map[string]tokens.Token{"enrolment token": h.once, "credential": token, "next credential": next, "a runner's": canary} {
		require.False(t, secret.IsZero(), what)
		require.NotContains(t, all.String(), secret.Reveal()[12:], what)
	}
}
