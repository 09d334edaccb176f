//go:build unix

// Package commands is a Backend to copy: each runner is a command that this
// process starts, and a map is the engine. It shows what a backend has to do:
//
//   - Launch is idempotent by Spec.ID, ended runners included, and tells a
//     definite error by wrapping one of package backend's.
//   - List tells every runner, its labels verbatim and its environment never.
//   - Remove returns when the process has ended; removing what is gone is nil.
//   - Every call ends soon after its ctx.
//
// Its test runs backendtest, the suite of all backends: start yours from there.
// What is missing here is memory: with this process its table is gone, so
// nothing is adopted after a restart. A backend with an engine behind it keeps
// id, owner and labels there. And a child that a command leaves behind lives on.
package commands

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/slipway-ci/slipway/backend"
)

var (
	_ backend.Backend = (*Backend)(nil)
	_ backend.Sizer   = (*Backend)(nil)
)

// Backend holds the runners of one owner.
type Backend struct {
	room    int
	mu      sync.Mutex
	runners map[string]*runner
}

type runner struct {
	told backend.Runner
	cmd  *exec.Cmd
	kill context.CancelFunc
	done chan struct{} // closed when the process has ended
}

// New makes a Backend with room for so many runners at once.
func New(room int) *Backend { return &Backend{room: room, runners: map[string]*runner{}} }

// Launch starts Spec.Command with Spec.Env as its whole environment.
func (b *Backend) Launch(ctx context.Context, spec backend.Spec) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("launch %s: %w", spec.ID, ctx.Err())
	case b.runners[spec.ID] != nil:
		return fmt.Errorf("launch %s: %w", spec.ID, backend.ErrExists)
	case len(spec.Command) == 0:
		return fmt.Errorf("launch %s: a command is needed: %w", spec.ID, backend.ErrInvalid)
	case b.free() == 0:
		return fmt.Errorf("launch %s: %w", spec.ID, backend.ErrExhausted)
	}
	// ctx bounds this call, not the runner.
	life, kill := context.WithCancel(context.WithoutCancel(ctx))
	cmd := exec.CommandContext(life, spec.Command[0], spec.Command[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.Env = []string{}
	for name, value := range spec.Env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	if err := cmd.Start(); err != nil {
		kill()
		return fmt.Errorf("launch %s: %w", spec.ID, errors.Join(backend.ErrInvalid, err))
	}
	now := time.Now()
	r := &runner{cmd: cmd, kill: kill, done: make(chan struct{}), told: backend.Runner{
		ID: spec.ID, Labels: maps.Clone(spec.Labels), State: backend.Running, Created: now, Started: now,
	}}
	b.runners[spec.ID] = r
	go b.wait(r)
	return nil
}

// wait notes how the process ended.
func (b *Backend) wait(r *runner) {
	_ = r.cmd.Wait() // its error says no more than ProcessState
	defer close(r.done)
	defer r.kill()
	code := r.cmd.ProcessState.ExitCode()
	if status, ok := r.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		code = 128 + int(status.Signal())
	}
	b.mu.Lock()
	defer b.mu.Unlock()
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
	for _, r := range b.runners {
		told := r.told
		told.Labels = maps.Clone(told.Labels)
		listing.Runners = append(listing.Runners, told)
	}
	slices.SortFunc(listing.Runners, func(x, y backend.Runner) int { return cmp.Compare(x.ID, y.ID) })
	return listing, ctx.Err()
}

// Remove kills the process and waits for its end.
func (b *Backend) Remove(ctx context.Context, id string) error {
	b.mu.Lock()
	r := b.runners[id]
	b.mu.Unlock()
	if r == nil {
		return nil
	}
	r.kill()
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

// Capacity tells the room that is left.
func (b *Backend) Capacity(_ context.Context, specs []backend.Spec) ([]int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Repeat([]int{b.free()}, len(specs)), nil
}

// free counts, with the lock held.
func (b *Backend) free() int {
	free := b.room
	for _, r := range b.runners {
		if r.told.State.HoldsSlot() {
			free--
		}
	}
	return free
}
