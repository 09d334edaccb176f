//go:build unix

package commands

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/backendtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	backendtest.RunParallel(t, func(t *testing.T) backendtest.Harness { return &harness{dir: t.TempDir(), pids: map[string]int{}} })
}

// Each field that can't be honoured is named, and no other.
func TestUnableNamesEachField(t *testing.T) {
	b := New(1)
	err := b.Launch(t.Context(), backend.Spec{
		ID: "1", Command: []string{"true"}, User: "nobody", CPU: 2, Mounts: []backend.Mount{{Volume: "cache", Target: "/cache"}}, Tmpfs: map[string]string{},
	})
	require.ErrorIs(t, err, backend.ErrInvalid)
	require.ErrorContains(t, err, "can't have User, Mounts: ")
	require.NoError(t, b.Launch(t.Context(), backend.Spec{ID: "1", OS: runtime.GOOS, Arch: runtime.GOARCH, Entrypoint: []string{"/bin/sh"}, Command: []string{"-c", "true"}}))
	require.NoError(t, b.Remove(t.Context(), "1"))
}

// harness kills, and looks for processes, past the backend.
type harness struct {
	dir      string // where runners tell their environment
	mu       sync.Mutex
	backends []*Backend
	pids     map[string]int
}

func (h *harness) Open(*testing.T, string) backend.Backend {
	h.mu.Lock()
	defer h.mu.Unlock()
	b := New(h.Room())
	h.backends = append(h.backends, b)
	return b
}

func (h *harness) Room() int             { return 8 }
func (h *harness) Runs() backend.Spec    { return shell("sleep 600 & wait") }
func (h *harness) Invalid() backend.Spec { return backend.Spec{} }
func (h *harness) Exits(code int) backend.Spec {
	return shell(fmt.Sprintf("exit %d", code))
}

func (h *harness) Tells() backend.Spec {
	return shell("env >" + h.dir + "/$$; sleep 600 & wait")
}

// Logs are what a runner of Tells has written, since this Backend keeps none.
func (h *harness) Logs(_ context.Context, id string, _ int) (io.ReadCloser, error) {
	text, err := os.ReadFile(filepath.Join(h.dir, strconv.Itoa(h.pid(id))))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(text)), nil
}

func (h *harness) Lacks() []string {
	return []string{"Image", "OS", "Arch", "InjectRunner", "User", "GPUs", "GPUIDs", "ShmSize", "PidsLimit", "Runtime", "Network", "Mounts", "Tmpfs", "CapAdd", "CapDrop", "Privileged", "ReadOnly"}
}

func shell(script string) backend.Spec {
	return backend.Spec{Command: []string{"/bin/sh", "-c", script}, Env: map[string]string{"PATH": "/usr/bin:/bin"}}
}

// pid is that of the runner's first process, also after it was removed if it
// was asked for before; else 0.
func (h *harness) pid(id string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, b := range h.backends {
		b.mu.Lock()
		if r := b.runners[id]; r != nil {
			h.pids[id] = r.cmd.Process.Pid
		}
		b.mu.Unlock()
	}
	return h.pids[id]
}

func (h *harness) Alive(_ *testing.T, id string) int {
	if pid := h.pid(id); pid != 0 && syscall.Kill(pid, 0) == nil {
		return 1
	}
	return 0
}

func (h *harness) Kill(t *testing.T, id string) {
	pid := h.pid(id)
	require.NotZero(t, pid)
	require.NoError(t, syscall.Kill(-pid, syscall.SIGKILL))
}
