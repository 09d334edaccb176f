//go:build unix

// Package commands is a Backend to copy: each runner is a command that this
// process starts, and a map is the engine. It shows what a backend has to do:
//
//   - Launch is idempotent by Spec.ID, ended runners included, and tells a
//     definite error by wrapping one of package backend's.
//   - List tells every runner, its labels verbatim and its environment never.
//   - Remove returns when the process has ended; removing what is gone is nil.
//   - Every call ends soon after its ctx.
//   - Of a Spec it honours ID, Labels, Env, Entrypoint, Command and
//     AllowNewPrivileges, and OS and Arch where they are this machine's. CPU and
//     Memory are limits where a backend can set one: this one can't. What else is
//     set is ErrInvalid, and each such field is named: see unable.
//
// Its test runs backendtest, the suite of all backends: start yours from there.
// What is missing here is memory: with this process its table is gone, so
// nothing is adopted after a restart. A backend with an engine behind it keeps
// id, owner and labels there, and asks it without holding a lock: here starting a
// command is quick, there one launch that hangs would hold up all others. And a
// child that a command leaves behind lives on.
// Abilities, such as to tell how much room there is, are left out: see
// abilities.go of package backend.
package commands

import (
	"context"
	"fmt"
	"maps"
	"os/exec"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/slipway-ci/slipway/backend"
)

var _ backend.Backend = (*Backend)(nil)

// Backend holds the runners of one owner.
type Backend struct {
	mu      sync.Mutex
	room    int // for so many more
	runners map[string]*runner
}

type runner struct {
	told backend.Runner
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
}

// New makes a Backend with room for so many runners at once.
func New(room int) *Backend { return &Backend{room: room, runners: map[string]*runner{}} }

// honoured are the fields of a Spec that Launch heeds, and those that it may pass
// over: limits that can't be set, and how the image is fetched, for there is none.
var honoured = []string{"ID", "Labels", "Env", "Entrypoint", "Command", "AllowNewPrivileges", "CPU", "Memory", "PullPolicy", "PullMaxAge", "Credential"}

// unable names the fields of spec that are set and can't be honoured; a field that
// is new in Spec is one of them until somebody adds it to honoured.
func unable(spec backend.Spec) (fields []string) {
	if spec.OS == runtime.GOOS {
		spec.OS = ""
	}
	if spec.Arch == runtime.GOARCH {
		spec.Arch = ""
	}
	v := reflect.ValueOf(spec)
	for i := range v.NumField() {
		name, field := v.Type().Field(i).Name, v.Field(i)
		empty := field.IsZero() || (field.Kind() == reflect.Map || field.Kind() == reflect.Slice) && field.Len() == 0
		if !empty && !slices.Contains(honoured, name) {
			fields = append(fields, name)
		}
	}
	return fields
}

// Launch starts Spec.Entrypoint and Spec.Command with Spec.Env as the whole
// environment.
func (b *Backend) Launch(ctx context.Context, spec backend.Spec) error {
	argv, unable := slices.Concat(spec.Entrypoint, spec.Command), unable(spec)
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("launch %s: %w", spec.ID, ctx.Err())
	case b.runners[spec.ID] != nil:
		return fmt.Errorf("launch %s: %w", spec.ID, backend.ErrExists)
	case len(unable) > 0:
		return fmt.Errorf("launch %s: a plain command can't have %s: %w", spec.ID, strings.Join(unable, ", "), backend.ErrInvalid)
	case len(argv) == 0:
		return fmt.Errorf("launch %s: a command is needed: %w", spec.ID, backend.ErrInvalid)
	case b.room == 0:
		return fmt.Errorf("launch %s: %w", spec.ID, backend.ErrExhausted)
	}
	cmd := exec.Command(argv[0], argv[1:]...) // ctx bounds this call, not the runner
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Env = []string{}
	for name, value := range spec.Env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("launch %s: %w: %w", spec.ID, backend.ErrInvalid, err)
	}
	now := time.Now()
	r := &runner{cmd: cmd, done: make(chan struct{}), told: backend.Runner{
		ID: spec.ID, Labels: maps.Clone(spec.Labels), State: backend.Running, Created: now, Started: now,
	}}
	b.runners[spec.ID] = r
	b.room--
	go b.wait(r)
	return nil
}

// wait notes how the process ended.
func (b *Backend) wait(r *runner) {
	_ = r.cmd.Wait() // its error says no more than ProcessState
	defer close(r.done)
	code := r.cmd.ProcessState.ExitCode()
	if status, ok := r.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		code = 128 + int(status.Signal())
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.room++
	r.told.ExitCode, r.told.Finished, r.told.State = &code, time.Now(), backend.Failed
	if code == 0 {
		r.told.State = backend.Exited
	}
}

// List tells the table.
func (b *Backend) List(ctx context.Context) (backend.Listing, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	listing := backend.Listing{Began: time.Now()}
	for _, id := range slices.Sorted(maps.Keys(b.runners)) {
		told := b.runners[id].told
		told.Labels = maps.Clone(told.Labels)
		listing.Runners = append(listing.Runners, told)
	}
	return listing, ctx.Err()
}

// Remove kills the process and waits for its end.
func (b *Backend) Remove(ctx context.Context, id string) error {
	b.mu.Lock()
	r := b.runners[id]
	if r == nil {
		b.mu.Unlock()
		return nil
	}
	if !r.told.State.Ended() { // else the pid may be another's by now
		_ = syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL)
	}
	b.mu.Unlock()
	select {
	case <-r.done:
	case <-ctx.Done():
		return fmt.Errorf("remove %s: %w", id, ctx.Err())
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.runners, id)
	return nil
}
