package fleet_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/agent"
	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/backendtest"
	"github.com/slipway-ci/slipway/backend/memory"
	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/tokens"
)

// harness is one engine behind one agent per owner, each in a fleet of its own.
type harness struct {
	t      *testing.T
	engine *memory.Engine
	room   int
	hang   atomic.Bool
	real   bool // over loopback, else in memory
	cut    bool // Break cuts the network, else it takes the engine away
	view   bool // of a control plane, over a host that tells all there is to tell

	stalled sync.Map // of functions by id: to be called when its launch hangs

	mu    sync.Mutex
	sites map[string]*site
}

// site is an owner's fleet with its one agent.
type site struct {
	hub   *hub
	store *fleet.MemoryStore
	token tokens.Token
	end   func()
	ready func()
	epoch uint64 // before the network went
}

func behave(spec backend.Spec) memory.Program {
	p := memory.Program{Start: 2 * time.Millisecond, Stop: 3 * time.Millisecond}
	switch {
	case spec.Image == "invalid":
		p.Err = backend.ErrInvalid
	case spec.ReadOnly:
		p.Err = fmt.Errorf("field ReadOnly: %w", backend.ErrInvalid)
	}
	if p.Err != nil {
		return p
	}
	switch do := spec.Command; do[0] {
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

func newHarness(t *testing.T, room int) *harness {
	h := &harness{t: t, room: room, sites: map[string]*site{}}
	h.engine = memory.New(memory.Config{
		Hosts: []memory.Host{{Room: room}}, Behaviour: behave,
		Fault: func(call memory.Call) memory.Fault {
			return memory.Fault{Before: time.Millisecond, Hang: h.hang.Load() || h.stalls(call)}
		},
		Pull: func(string) (time.Duration, error) { return time.Millisecond, nil },
	})
	return h
}

func (h *harness) Open(t *testing.T, owner string) backend.Backend {
	s := h.startHub(t, owner, fleet.NewMemoryStore(), tokens.New(tokens.Agent))
	h.startAgent(t, owner, s)
	s.ready()
	return h.backend(s)
}

func (h *harness) backend(s *site) backend.Backend {
	if h.view {
		return s.hub.View("queue")
	}
	return s.hub
}

// Reopen is a restart of the hub with its store; the agent comes back to it.
func (h *harness) Reopen(t *testing.T, owner string) backend.Backend {
	h.mu.Lock()
	before := h.sites[owner]
	h.mu.Unlock()
	before.end()
	before.hub.stop()
	s := h.startHub(t, owner, before.store, before.token)
	h.startAgent(t, owner, s)
	s.ready()
	return h.backend(s)
}

func (h *harness) startHub(t *testing.T, owner string, store *fleet.MemoryStore, token tokens.Token) *site {
	s := &site{store: store, token: token}
	s.hub = startHub(t, fleet.Config{
		Authenticate: func(_ context.Context, d tokens.Digest) (string, error) {
			if !d.Equal(token.Digest()) {
				return "", fleet.ErrRefused
			}
			return "host-1", nil
		},
		Store: store, Hosts: []fleet.Host{{ID: "host-1", Name: "builder-01", MaxRunners: h.cap()}}, Heartbeat: time.Second, DecideWithin: 100 * time.Millisecond,
		Credential: func(context.Context, string, string) (*backend.Credential, error) {
			return &backend.Credential{Username: "ci", Password: canary}, nil
		},
	})
	s.ready = func() {
		t.Helper()
		require.Eventually(t, func() bool { h := s.hub.Hosts()[0]; return h.Ready && h.Epoch > s.epoch }, 30*time.Second, time.Millisecond, "the host is ready")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sites[owner] = s
	return s
}

func (h *harness) cap() int {
	if h.room > 0 {
		return h.room
	}
	return 100
}

func (h *harness) startAgent(t *testing.T, owner string, s *site) {
	config := agent.Config{
		Hub: "http://hub.test", InsecureHTTP: true, Dial: s.hub.dial, Token: func() tokens.Token { return s.token }, ID: "agent-1", Engine: "engine-1",
		Backend: h.engine.Backend(owner), LookSpacing: time.Millisecond, LookInterval: 20 * time.Millisecond, LookTimeout: 100 * time.Millisecond, RetryMin: time.Millisecond, RetryMax: 20 * time.Millisecond,
	}
	if h.view {
		config.Facts = agent.Facts{CPUs: 64, Memory: 64 << 30, Runtimes: []string{"runc"}, GPUs: devices("1", 2), Disk: agent.Disk{Free: 1 << 30, Total: 2 << 30}}
		config.Stats = func(context.Context) (agent.Stats, error) {
			return agent.Stats{Disk: agent.Disk{Free: 1 << 30, Total: 2 << 30}}, nil
		}
	}
	if h.real {
		server := httptest.NewServer(s.hub.Handler())
		t.Cleanup(server.Close)
		config.Hub, config.Dial, config.InsecureHTTP = server.URL, nil, false
	}
	a, err := agent.New(config)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var ran sync.WaitGroup
	ran.Go(func() { _ = a.Run(ctx) })
	s.end = sync.OnceFunc(func() {
		cancel()
		ran.Wait()
	})
	t.Cleanup(s.end)
}

func (h *harness) Runs() backend.Spec {
	if h.view {
		return backend.Spec{Command: []string{"run"}, CPU: 0.5, Memory: 1 << 20, Runtime: "runc", OS: runtime.GOOS, Arch: runtime.GOARCH}
	}
	return backend.Spec{Command: []string{"run"}}
}
func (h *harness) Invalid() backend.Spec {
	return backend.Spec{Image: "invalid", Command: []string{"run"}}
}
func (h *harness) OutOfMemory() backend.Spec { return backend.Spec{Command: []string{"starve"}} }
func (h *harness) Exits(code int) backend.Spec {
	return backend.Spec{Command: []string{"exit", strconv.Itoa(code)}}
}
func (h *harness) Prints(lines []string) backend.Spec {
	return backend.Spec{Command: []string{"print", strings.Join(lines, "\n")}}
}
func (h *harness) Tells() backend.Spec { return backend.Spec{Command: []string{"tell"}} }

// Lacks is what the engine refuses, and what is the fleet's alone to set.
func (h *harness) Lacks() []string { return []string{"ReadOnly", "GPUIDs"} }

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

func (h *harness) Patience() time.Duration           { return 15 * time.Second }
func (h *harness) Kill(t *testing.T, id string)      { require.True(t, h.engine.Kill(id)) }
func (h *harness) Hang(*testing.T)                   { h.hang.Store(true) }
func (h *harness) Unhang(*testing.T)                 { h.hang.Store(false) }
func (h *harness) Alive(_ *testing.T, id string) int { return alive(h.engine, id) }

// alive counts the processes of a runner.
func alive(engine *memory.Engine, id string) int {
	n := 0
	for _, r := range engine.Truth() {
		if r.Spec.ID == id && r.Runner.State.HoldsSlot() {
			n++
		}
	}
	return n
}

func (h *harness) Break(*testing.T) {
	if !h.cut {
		h.engine.SetOnline("", false)
		return
	}
	h.each(func(s *site) {
		s.epoch = s.hub.Hosts()[0].Epoch
		s.hub.drop(true)
	})
}

// Mend waits until the hub can see the engine again, as one who mends does.
func (h *harness) Mend(t *testing.T) {
	h.engine.SetOnline("", true)
	h.each(func(s *site) { s.hub.mend() })
	h.each(func(s *site) {
		s.ready()
		require.Eventually(t, func() bool { return len(s.hub.Hosts()[0].BackingOff) == 0 }, 30*time.Second, time.Millisecond, "no kind backs off")
	})
}

func (h *harness) each(do func(*site)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.sites {
		do(s)
	}
}

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

// bounded is a harness whose engine can be filled.
type bounded struct{ *harness }

func (h bounded) Room() int { return h.room }

// Every promise of a Backend, over an agent through a hub.
func TestConformance(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) backendtest.Harness{
		"the engine goes": func(t *testing.T) backendtest.Harness { return newHarness(t, 0) },
		"the network goes": func(t *testing.T) backendtest.Harness {
			h := newHarness(t, 8)
			h.cut = true
			return bounded{h}
		},
		"through a view": func(t *testing.T) backendtest.Harness {
			h := newHarness(t, 0)
			h.view = true
			return h
		},
		"over loopback": func(t *testing.T) backendtest.Harness {
			h := newHarness(t, 0)
			h.real = true
			return h
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			backendtest.RunParallel(t, open)
		})
	}
}
