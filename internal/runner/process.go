//go:build unix

package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// The pipe may stay open, held by somebody whom we can't find or end, for so
// long after the sweep; then for as many of the short looks that read what is
// left in it.
const (
	outputGrace = 2 * time.Second
	outputLook  = 100 * time.Millisecond
	outputLooks = 10
)

// process is the job's main process and its group.
type process struct {
	output *os.File // what it writes, stdout and stderr in order
	pid    int
	ended  chan int // its exit code, once
}

// start runs the job in a process group of its own.
func start(dir workDir, j job, env []string) (*process, error) {
	argv := j.Command
	if j.Run != "" {
		argv = []string{"sh", "-e", dir.script}
		if err := os.WriteFile(dir.script, []byte(j.Run), 0o600); err != nil {
			return nil, fmt.Errorf("write script: %w", err)
		}
	}
	if len(argv) == 0 {
		return nil, errors.New("start job: it has neither run nor command")
	}
	path := lookup(argv[0], env, dir.work)
	if path == "" {
		return nil, fmt.Errorf("start job: %q is not in PATH", argv[0])
	}
	output, input, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start job: %w", err)
	}
	cmd := &exec.Cmd{Path: path, Args: argv, Env: env, Dir: dir.work, Stdout: input, Stderr: input, SysProcAttr: attributes()}
	p := &process{output: output, ended: make(chan int, 1)}
	started := make(chan error)
	go func() {
		// The kernel's parent death signal follows the thread, so this one stays.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		_ = input.Close()
		if err == nil {
			p.pid = cmd.Process.Pid
		}
		started <- err
		if err == nil {
			p.ended <- exitCode(cmd)
		}
	}()
	if err := <-started; err != nil {
		_ = output.Close()
		return nil, fmt.Errorf("start job: %w", err)
	}
	return p, nil
}

func exitCode(cmd *exec.Cmd) int {
	_ = cmd.Wait()
	if cmd.ProcessState == nil {
		return 255 // it ended, and how can't be told
	}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return cmd.ProcessState.ExitCode()
}

// wait is for the end of the main process, which the end of ctx brings about:
// TERM, and KILL after grace. The cause is nil when it ended before ctx did.
func (p *process) wait(ctx context.Context, grace time.Duration) (code int, cause error) {
	reaper := reap(p.pid)
	defer reaper()
	select {
	case code = <-p.ended:
		return code, nil
	case <-ctx.Done():
	}
	cause = context.Cause(ctx)
	if errors.Is(cause, ErrStopped) {
		grace = min(grace, stopGrace)
	}
	_ = syscall.Kill(-p.pid, syscall.SIGTERM)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case code = <-p.ended:
		return code, cause
	case <-timer.C:
	}
	_ = syscall.Kill(-p.pid, syscall.SIGKILL)
	return <-p.ended, cause
}

// read copies the output to w until its end: that of the last process that holds it.
func (p *process) read(w io.Writer) {
	defer func() { _ = p.output.Close() }()
	part := make([]byte, maxLogRead)
	for looks := 0; ; {
		n, err := p.output.Read(part)
		_, _ = w.Write(part[:n])
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && looks < outputLooks:
			looks++
			_ = p.output.SetReadDeadline(time.Now().Add(outputLook))
		case err != nil:
			return
		}
	}
}

// sweep ends every process that the job left behind, and makes sure that the
// output ends.
func (p *process) sweep() {
	killDescendants(p.pid)
	_ = p.output.SetReadDeadline(time.Now().Add(outputGrace))
}

func executable(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}
