package standalone

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend/process"
	"github.com/slipway-ci/slipway/tokens"
)

// role makes this test program play another one.
const role = "STANDALONE_TEST_ROLE"

// haste, set to anything, gives that program deadlines that tests can wait for.
const haste = "STANDALONE_TEST_HASTE"

func TestMain(m *testing.M) {
	process.Main()
	if os.Getenv(role) == "provisioner" {
		if os.Getenv(haste) != "" {
			registrationGrace, leastLaunchDeadline, factsInterval = 2*time.Second, 10*time.Second, time.Second
		}
		os.Exit(Main())
	}
	reloadInterval = 10 * time.Millisecond
	code := m.Run()
	if dir, err := built(); err == nil {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// patience bounds a wait for a condition.
const patience = time.Minute

// started is the program as a process.
type started struct {
	t    testing.TB
	cmd  *exec.Cmd
	pipe io.ReadCloser

	mu    sync.Mutex
	lines []string
	ended chan struct{} // closed when it has ended and all lines are read
	code  int
}

// base is an environment that the program runs with, but for what is set.
func base(t testing.TB, pairs map[string]string) []string {
	env := map[string]string{
		role: "provisioner", "PATH": os.Getenv("PATH"), "HOME": t.TempDir(), "GORACE": "atexit_sleep_ms=0", "SLIPWAY_HTTP_ADDR": "127.0.0.1:0",
		"LOG_LEVEL": "debug", "DOCKER_HOST": "unix:///nonexistent/docker.sock", "SLIPWAY_PROCESS_DIR": filepath.Join(t.TempDir(), "runners"),
	}
	for name, value := range pairs {
		env[name] = value
	}
	var out []string
	for name, value := range env {
		out = append(out, name+"="+value)
	}
	return out
}

func start(t testing.TB, env map[string]string, args ...string) *started {
	t.Helper()
	return startProgram(t, os.Args[0], env, args...)
}

func startProgram(t testing.TB, program string, env map[string]string, args ...string) *started {
	t.Helper()
	p := &started{t: t, cmd: exec.Command(program, args...), ended: make(chan struct{})}
	p.cmd.Env = base(t, env)
	out, in, err := os.Pipe()
	require.NoError(t, err)
	p.cmd.Stdout, p.cmd.Stderr = in, in
	require.NoError(t, p.cmd.Start())
	require.NoError(t, in.Close())
	p.pipe = out
	go p.read()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("the program wrote:\n%s", p.output())
		}
	})
	return p
}

func (p *started) read() {
	scan := bufio.NewScanner(p.pipe)
	scan.Buffer(nil, 1<<20)
	for scan.Scan() {
		p.mu.Lock()
		p.lines = append(p.lines, scan.Text())
		p.mu.Unlock()
	}
	_ = p.pipe.Close()
	_ = p.cmd.Wait()
	p.code = p.cmd.ProcessState.ExitCode()
	close(p.ended)
}

func (p *started) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n")
}

// kill ends it as kill -9 does. What runs under supervisors of the process
// backend keeps the pipe open, so its end is not waited for through that.
func (p *started) kill() {
	_ = p.cmd.Process.Kill()
	select {
	case <-p.ended:
	case <-time.After(2 * time.Second):
		_ = p.pipe.Close()
		<-p.ended
	}
}

func (p *started) signal(s syscall.Signal) { require.NoError(p.t, p.cmd.Process.Signal(s)) }

// exit waits until it has ended, and returns its code.
func (p *started) exit() int {
	p.t.Helper()
	select {
	case <-p.ended:
		return p.code
	case <-time.After(patience):
		p.t.Fatalf("it has not ended:\n%s", p.output())
		return -1
	}
}

// says waits until a line of the log has the text.
func (p *started) says(text string) {
	p.t.Helper()
	require.Eventually(p.t, func() bool { return strings.Contains(p.output(), text) }, patience, 10*time.Millisecond, "it never says %q", text)
}

// addr waits for the address of its health routes.
func (p *started) addr() string {
	p.t.Helper()
	var addr string
	require.Eventually(p.t, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, line := range p.lines {
			var entry struct {
				Message string `json:"@message"`
				Address string `json:"address"`
			}
			if json.Unmarshal([]byte(line), &entry) == nil && entry.Message == "health and metrics" {
				addr = entry.Address
				return true
			}
		}
		return false
	}, patience, 5*time.Millisecond, "no address was told")
	return addr
}

var web1 = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

func get(t testing.TB, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodGet, url, nil)
	require.NoError(t, err)
	res, err := web1.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(text)
}

// ready waits until /readyz is 200.
func (p *started) ready() {
	p.t.Helper()
	addr, last := p.addr(), ""
	require.Eventually(p.t, func() bool {
		status, body := get(p.t, "http://"+addr+"/readyz")
		last = body
		return status == 200
	}, patience, 10*time.Millisecond, "it never gets ready: %s", last)
}

// templates writes a template file and returns its path.
func templates(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "templates.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// settingsFor are those of a token, a service and a template file.
func settingsFor(url string, token tokens.Token, file string) map[string]string {
	return map[string]string{
		"SHIPFOX_API_URL": url, "SHIPFOX_PROVISIONER_TOKEN": token.Reveal(), "SHIPFOX_PROVISIONER_TEMPLATES_FILE": file,
	}
}

func with(env map[string]string, pairs ...string) map[string]string {
	out := map[string]string{}
	for name, value := range env {
		out[name] = value
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		out[pairs[i]] = pairs[i+1]
	}
	return out
}
