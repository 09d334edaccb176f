//go:build unix

package commands

import (
	"fmt"
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
	backendtest.Run(t, func(*testing.T) backendtest.Harness { return &harness{pids: map[string]int{}} })
}

// harness kills, and looks for processes, past the backend.
type harness struct {
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
