package hubload

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Build builds the static slipway-hub of this module into dir. It is called from
// within the module.
func Build(ctx context.Context, dir string) (program string, err error) {
	program = filepath.Join(dir, "slipway-hub")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, "github.com/slipway-ci/slipway/cmd/slipway-hub")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build slipway-hub: %w: %s", err, out)
	}
	return program, nil
}

// process is slipway-hub as it runs.
type process struct {
	cmd   *exec.Cmd
	log   *os.File
	ended chan struct{} // closed when it has ended and its output is read
	url   string
	admin string // the admin token; empty but at the first start
}

// startPatience is how long a hub may take until it listens.
const startPatience = time.Minute

// start starts the program on a data folder in dir, and waits until it listens.
// Its log goes to dir/hub.log.
func start(ctx context.Context, program, dir, listen string, more ...string) (_ *process, err error) {
	p := &process{ended: make(chan struct{})}
	if p.log, err = os.OpenFile(filepath.Join(dir, "hub.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return nil, err
	}
	args := []string{"--data", filepath.Join(dir, "hub"), "--listen", listen, "--public-url", "http://127.0.0.1", "--container-bridges=false"}
	p.cmd = exec.Command(program, append(args, more...)...)
	p.cmd.Env, p.cmd.Stderr = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH")}, p.log
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		return nil, errors.Join(err, p.log.Close())
	}
	greeting := make(chan string, 1)
	go p.follow(out, greeting)
	select {
	case text, ok := <-greeting:
		if ok && p.understand(text) {
			return p, nil
		}
		err = fmt.Errorf("slipway-hub has ended: see %s", p.log.Name())
	case <-time.After(startPatience):
		err = fmt.Errorf("slipway-hub does not listen after %s", startPatience)
	case <-ctx.Done():
		err = ctx.Err()
	}
	return nil, errors.Join(err, p.kill())
}

// follow reads what the program prints until it ends: first its greeting, which
// comes in one piece.
func (p *process) follow(out io.Reader, greeting chan<- string) {
	defer close(p.ended)
	reader := bufio.NewReader(out)
	if _, err := reader.Peek(1); err == nil {
		text, _ := reader.Peek(reader.Buffered())
		greeting <- string(text)
	}
	close(greeting)
	_, _ = io.Copy(io.Discard, reader)
	_ = p.cmd.Wait() // killed, as a rule
}

func (p *process) understand(greeting string) bool {
	for line := range strings.Lines(greeting) {
		line = strings.TrimSpace(line)
		if _, url, ok := strings.Cut(line, "listening on "); ok {
			p.url = url
		} else if !strings.HasPrefix(line, "slipway-hub:") {
			p.admin = line
		}
	}
	return p.url != ""
}

// kill ends the program as a power cut would: with SIGKILL.
func (p *process) kill() error {
	err := p.cmd.Process.Signal(syscall.SIGKILL)
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	<-p.ended
	return errors.Join(err, p.log.Close())
}

// Usage is what a process has used of the machine.
type Usage struct {
	// CPU is the time on a core, user and system, since it began.
	CPU time.Duration
	// Memory is what is resident now, Peak the most that ever was, in bytes.
	Memory, Peak int64
}

// usage reads proc_pid_stat(5) and proc_pid_status(5).
func (p *process) usage() (u Usage, err error) {
	dir := fmt.Sprintf("/proc/%d/", p.cmd.Process.Pid)
	stat, err := os.ReadFile(dir + "stat")
	if err != nil {
		return u, err
	}
	status, err := os.ReadFile(dir + "status")
	if err != nil {
		return u, err
	}
	return parseUsage(string(stat), string(status))
}

// tick is the unit of the times in /proc: USER_HZ is 100 on all of Linux's
// architectures that Go runs on.
const tick = 10 * time.Millisecond

func parseUsage(stat, status string) (u Usage, err error) {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:]) // the name may hold anything
	if len(fields) < 13 {
		return u, errors.New("/proc/PID/stat is not of its form")
	}
	for _, field := range fields[11:13] { // utime and stime
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return u, err
		}
		u.CPU += time.Duration(n) * tick
	}
	for line := range strings.Lines(status) {
		name, value, _ := strings.Cut(line, ":")
		to := map[string]*int64{"VmRSS": &u.Memory, "VmHWM": &u.Peak}[name]
		if to == nil {
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
		if err != nil {
			return u, err
		}
		*to = kib << 10
	}
	return u, nil
}
