package backendtest_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/memory"
)

// harness is a memory engine whose backends have a defect.
type harness struct {
	engine *memory.Engine
	defect defect

	stalled sync.Map // of functions by id: to be called when its launch hangs

	mu     sync.Mutex
	owners []string
}

const room = 20

func newHarness(d defect) *harness {
	h := &harness{defect: d}
	h.engine = memory.New(memory.Config{
		Hosts: []memory.Host{{Room: room}},
		Fault: func(call memory.Call) memory.Fault {
			return memory.Fault{Before: time.Millisecond, Hang: h.stalls(call)}
		},
		Behaviour: func(spec backend.Spec) memory.Program {
			p := memory.Program{Start: time.Millisecond, Stop: 5 * time.Millisecond}
			if spec.User != "" {
				p.Err = fmt.Errorf("field User: %w", backend.ErrInvalid)
			}
			switch do := spec.Command; do[0] {
			case "tell":
				for name, value := range spec.Env {
					p.Output = append(p.Output, name+"="+value)
				}
			case "invalid":
				p.Err = backend.ErrInvalid
			case "exit":
				p.Run = time.Millisecond
				p.ExitCode, _ = strconv.Atoi(do[1])
			case "starve":
				p.Run, p.OOM, p.ExitCode = time.Millisecond, true, 137
			case "print":
				p.Instant, p.Output = true, do[1:]
			}
			return p
		},
	})
	return h
}

// stalls says whether the call is one that the harness stalls, and tells of it.
func (h *harness) stalls(call memory.Call) bool {
	reached, ok := h.stalled.Load(call.ID)
	if !ok || call.Op != memory.OpLaunch {
		return false
	}
	reached.(func())()
	return true
}

func (h *harness) Open(_ *testing.T, owner string) backend.Backend {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.owners = append(h.owners, owner)
	return newWrapped(h, owner)
}

func (h *harness) Reopen(t *testing.T, owner string) backend.Backend { return h.Open(t, owner) }
func (h *harness) Runs() backend.Spec                                { return backend.Spec{Command: []string{"run"}} }
func (h *harness) Invalid() backend.Spec                             { return backend.Spec{Command: []string{"invalid"}} }
func (h *harness) OutOfMemory() backend.Spec                         { return backend.Spec{Command: []string{"starve"}} }
func (h *harness) Exits(code int) backend.Spec {
	return backend.Spec{Command: []string{"exit", strconv.Itoa(code)}}
}
func (h *harness) Prints(lines []string) backend.Spec {
	return backend.Spec{Command: append([]string{"print"}, lines...)}
}
func (h *harness) Tells() backend.Spec { return backend.Spec{Command: []string{"tell"}} }
func (h *harness) Lacks() []string     { return []string{"User"} }
func (h *harness) Room() int           { return room }
func (h *harness) Stall(_ *testing.T, id string) <-chan struct{} {
	reached := make(chan struct{})
	h.stalled.Store(id, sync.OnceFunc(func() { close(reached) }))
	return reached
}
func (h *harness) Kill(_ *testing.T, id string) { h.engine.Kill(id) }
func (h *harness) Break(*testing.T)             { h.engine.SetOnline("", false) }
func (h *harness) Mend(*testing.T)              { h.engine.SetOnline("", true) }

// Patience is long where nothing is waited for in vain.
func (h *harness) Patience() time.Duration {
	if h.defect.promise == "" {
		return 20 * time.Second
	}
	return 500 * time.Millisecond
}

func (h *harness) Strangers(t *testing.T, owner string) func(*testing.T) {
	shouted := strings.ToUpper(owner)
	h.owners = append(h.owners, shouted)
	id := uuid.NewString()
	require.NoError(t, h.engine.Backend(shouted).Launch(t.Context(), backend.Spec{ID: id, Command: []string{"run"}}))
	return func(t *testing.T) {
		_, err := h.engine.Backend(shouted).Logs(t.Context(), id, 0)
		require.False(t, errors.Is(err, fs.ErrNotExist))
	}
}

// everyones lists the runners of all owners that fit.
func (h *harness) everyones(ctx context.Context, fits func(owner string) bool) (backend.Listing, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := backend.Listing{Began: time.Now()}
	for _, owner := range h.owners {
		if fits(owner) {
			listing, err := h.engine.Backend(owner).List(ctx)
			if err != nil {
				return backend.Listing{}, err
			}
			all.Runners = append(all.Runners, listing.Runners...)
		}
	}
	slices.SortFunc(all.Runners, func(a, b backend.Runner) int { return strings.Compare(a.ID, b.ID) })
	return all, nil
}
