package fleettest

import (
	"bufio"
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
)

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := built(); err == nil && os.Getenv(programsEnv) == "" {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// programsEnv names a folder with the programs, so that none is built.
const programsEnv = "SLIPWAY_TEST_PROGRAMS"

// built builds the programs once and tells the folder that they are in.
var built = sync.OnceValues(func() (string, error) {
	if dir := os.Getenv(programsEnv); dir != "" {
		return dir, nil
	}
	dir, err := os.MkdirTemp("", "slipway-programs")
	if err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", dir+"/", "./cmd/slipway-hub", "./cmd/slipway-agent", "./cmd/slipway")
	build.Dir = filepath.Join("..", "..")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return dir, fmt.Errorf("build the programs: %w: %s", err, out)
	}
	return dir, nil
})

func programPath(t testing.TB, name string) string {
	t.Helper()
	dir, err := built()
	require.NoError(t, err)
	return filepath.Join(dir, name)
}

// process is a program that runs until the test ends it.
type process struct {
	t   testing.TB
	cmd *exec.Cmd

	mu    sync.Mutex
	lines []string
	ended chan struct{} // closed when it has ended and all of its output is read
	code  int
}

// start runs a program in a namespace. What it wrote is told when the test fails.
func start(n *namespace, env map[string]string, program string, args ...string) *process {
	t := n.t
	t.Helper()
	all := n.within(append([]string{programPath(t, program)}, args...)...)
	p := &process{t: t, cmd: exec.Command(all[0], all[1:]...), ended: make(chan struct{})}
	p.cmd.Env = environ(env)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt of the test is not theirs
	out, in, err := os.Pipe()
	require.NoError(t, err)
	p.cmd.Stdout, p.cmd.Stderr = in, in
	require.NoError(t, p.cmd.Start())
	require.NoError(t, in.Close())
	go p.read(out)
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s wrote:\n%s", program, p.output())
		}
	})
	return p
}

func environ(pairs map[string]string) []string {
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent"}
	for name, value := range pairs {
		env = append(env, name+"="+value)
	}
	return env
}

func (p *process) read(out io.ReadCloser) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		p.mu.Lock()
		if !strings.Contains(lines.Text(), "slipway-hub.access: ") { // the test's own questions
			p.lines = append(p.lines, lines.Text())
		}
		p.mu.Unlock()
	}
	_ = out.Close()
	_ = p.cmd.Wait()
	p.code = p.cmd.ProcessState.ExitCode()
	close(p.ended)
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n")
}

// kill ends it as kill -9 does.
func (p *process) kill() { p.end(syscall.SIGKILL) }

// stop ends it as a service manager does, and wants it to end well.
func (p *process) stop() {
	p.t.Helper()
	p.end(syscall.SIGTERM)
	require.Zero(p.t, p.code, "the program ends well")
}

func (p *process) end(s syscall.Signal) {
	_ = p.cmd.Process.Signal(s)
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Errorf("process %d has not ended after signal %d:\n%s", p.cmd.Process.Pid, s, p.output())
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// after waits for a line that begins a secret, and tells the next one; or the line
// that has text, and tells what comes after it.
func (p *process) after(text string) string {
	p.t.Helper()
	var found string
	eventually(p.t, patience, func() string {
		_, rest, ok := strings.Cut(p.output(), text)
		if !ok {
			return fmt.Sprintf("it never writes %q:\n%s", text, p.output())
		}
		found, _, _ = strings.Cut(strings.TrimSpace(rest), "\n")
		return ""
	})
	return found
}

// run runs a program to its end and tells what it wrote.
func run(n *namespace, env map[string]string, input, program string, args ...string) (stdout, stderr string, err error) {
	n.t.Helper()
	all := n.within(append([]string{programPath(n.t, program)}, args...)...)
	cmd := exec.CommandContext(n.t.Context(), all[0], all[1:]...)
	var out, problem bytes.Buffer
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = environ(env), strings.NewReader(input), &out, &problem
	err = cmd.Run()
	return out.String(), problem.String(), err
}

// patience bounds a wait for one thing that is to happen soon.
const patience = 2 * time.Minute

// eventually waits until what is wrong is nothing any more.
func eventually(t testing.TB, limit time.Duration, wrong func() string) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(limit); ; <-tick.C {
		last := wrong()
		if last == "" {
			return
		}
		require.False(t, time.Now().After(end), "after %s: %s", limit, last)
	}
}
