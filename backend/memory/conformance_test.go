package memory_test

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/backendtest"
	"github.com/slipway-ci/slipway/backend/memory"
)

// harness has every ability that the suite knows. What a runner does stands in
// its command.
type harness struct {
	engine *memory.Engine
	host   string
	room   int
	hang   atomic.Bool

	stalled sync.Map // of functions by id: to be called when its launch hangs
}

func open(hosts ...memory.Host) backendtest.Opener {
	return func(t *testing.T) backendtest.Harness {
		h := &harness{}
		if len(hosts) > 0 {
			h.host = hosts[0].Name
		}
		for _, host := range hosts {
			h.room += host.Room
		}
		h.engine = memory.New(memory.Config{
			Hosts:     hosts,
			Behaviour: behave,
			Fault: func(call memory.Call) memory.Fault {
				return memory.Fault{Before: time.Millisecond, Hang: h.hang.Load() || h.stalls(call)}
			},
			Pull: func(string) (time.Duration, error) { return time.Millisecond, nil },
		})
		return h
	}
}

// bounded is a harness whose engine can be filled.
type bounded struct{ *harness }

func (h bounded) Room() int { return h.room }

func behave(spec backend.Spec) memory.Program {
	p := memory.Program{Start: 2 * time.Millisecond, Stop: 3 * time.Millisecond}
	switch do := spec.Command; do[0] {
	case "invalid":
		p.Err = backend.ErrInvalid
	case "exit":
		p.Run = 5 * time.Millisecond
		p.ExitCode, _ = strconv.Atoi(do[1])
	case "starve":
		p.Run, p.OOM, p.ExitCode = 5*time.Millisecond, true, 137
	case "print":
		p.Instant, p.Output = true, strings.Split(do[1], "\n")
	case "tell":
		for name, value := range spec.Env {
			p.Output = append(p.Output, name+"="+value)
		}
	}
	return p
}

func (h *harness) Open(_ *testing.T, owner string) backend.Backend   { return h.engine.Backend(owner) }
func (h *harness) Reopen(_ *testing.T, owner string) backend.Backend { return h.engine.Backend(owner) }
func (h *harness) Runs() backend.Spec                                { return backend.Spec{Command: []string{"run"}} }
func (h *harness) Invalid() backend.Spec                             { return backend.Spec{Command: []string{"invalid"}} }
func (h *harness) OutOfMemory() backend.Spec                         { return backend.Spec{Command: []string{"starve"}} }
func (h *harness) Exits(code int) backend.Spec {
	return backend.Spec{Command: []string{"exit", strconv.Itoa(code)}}
}
func (h *harness) Prints(lines []string) backend.Spec {
	return backend.Spec{Command: []string{"print", strings.Join(lines, "\n")}}
}

func (h *harness) Tells() backend.Spec { return backend.Spec{Command: []string{"tell"}} }

func (h *harness) Stall(_ *testing.T, id string) <-chan struct{} {
	reached := make(chan struct{})
	h.stalled.Store(id, sync.OnceFunc(func() { close(reached) }))
	return reached
}

// stalls says whether the call is one that hangs, and tells of it.
func (h *harness) stalls(call memory.Call) bool {
	reached, ok := h.stalled.Load(call.ID)
	if !ok || call.Op != memory.OpLaunch {
		return false
	}
	reached.(func())()
	return true
}

func (h *harness) Patience() time.Duration { return 10 * time.Second }

func (h *harness) Kill(t *testing.T, id string) { require.True(t, h.engine.Kill(id)) }

func (h *harness) Alive(_ *testing.T, id string) int {
	for _, r := range h.engine.Truth() {
		if r.Spec.ID == id && r.Runner.State.HoldsSlot() {
			return 1
		}
	}
	return 0
}

func (h *harness) Break(*testing.T)  { h.engine.SetOnline(h.host, false) }
func (h *harness) Mend(*testing.T)   { h.engine.SetOnline(h.host, true) }
func (h *harness) Hang(*testing.T)   { h.hang.Store(true) }
func (h *harness) Unhang(*testing.T) { h.hang.Store(false) }

func (h *harness) Strangers(t *testing.T, owner string) func(*testing.T) {
	ctx := context.Background()
	others := []string{owner[:len(owner)-1], owner + "x", strings.ToUpper(owner), "", " " + owner}
	for _, other := range others {
		require.NoError(t, h.engine.Backend(other).Launch(ctx, backend.Spec{ID: uuid.Must(uuid.NewV7()).String(), Command: []string{"run"}}))
	}
	return func(t *testing.T) {
		for _, other := range others {
			listing, err := h.engine.Backend(other).List(ctx)
			require.NoError(t, err)
			require.Len(t, listing.Runners, 1)
			require.True(t, listing.Runners[0].State.HoldsSlot())
			require.NoError(t, h.engine.Backend(other).Remove(ctx, listing.Runners[0].ID))
		}
	}
}

func TestConformance(t *testing.T) {
	for name, open := range map[string]backendtest.Opener{
		"one nameless host": open(),
		"bounded": func(t *testing.T) backendtest.Harness {
			return bounded{open(memory.Host{Room: 8})(t).(*harness)}
		},
		"a host by name": open(memory.Host{Name: "a", Skew: time.Hour}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			backendtest.RunParallel(t, open)
		})
	}
}
