package api_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/agent"
	"github.com/slipway-ci/slipway/backend/memory"
	"github.com/slipway-ci/slipway/hub/api"
	"github.com/slipway-ci/slipway/hub/events"
	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/hub/hosts"
	"github.com/slipway-ci/slipway/hub/scalesets"
	"github.com/slipway-ci/slipway/hub/vault"
	"github.com/slipway-ci/slipway/internal/wire"
	"github.com/slipway-ci/slipway/tokens"
)

// world is a hub with everything that the API serves, all of it real but the loop.
type world struct {
	*hub
	events    *events.Log
	hosts     *hosts.Registry
	scaleSets *scalesets.Registry
	fleet     *fleet.Fleet
	loop      *loop
	agents    map[string]*machine
}

// loop notes what it was asked to end.
type loop struct {
	mu     sync.Mutex
	ending []string
}

func (l *loop) Retire([]string, string) {}

func (l *loop) Terminate(runners []string, _ string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ending = append(l.ending, runners...)
}

func (l *loop) ended() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.ending)
}

const publicURL = "https://hub.test"

func newWorld(t *testing.T, adjust ...func(*api.Config)) *world {
	t.Helper()
	w := &world{loop: &loop{}, agents: map[string]*machine{}}
	w.hub = newHub(t, append([]func(*api.Config){func(c *api.Config) {
		c.Failures = 10_000
		c.Info = func() api.HubInfo { return api.HubInfo{Version: "test"} }
		ctx := context.WithoutCancel(t.Context())
		db := c.Queue.Store()
		var err error
		w.events, err = events.New(events.Config{Queue: c.Queue})
		require.NoError(t, err)
		w.hosts, err = hosts.New(ctx, hosts.Config{Store: db, Queue: c.Queue, PublicURL: publicURL, Events: w.events.Tell, Pace: 10 * time.Millisecond})
		require.NoError(t, err)
		keys, err := vault.Open(ctx, vault.Config{Store: db})
		require.NoError(t, err)
		w.scaleSets, err = scalesets.New(ctx, scalesets.Config{Store: db, Hosts: w.hosts, Vault: keys, Events: w.events.Tell})
		require.NoError(t, err)
		w.fleet, err = fleet.New(fleet.Config{
			Authenticate: w.hosts.Authenticate, Store: w.hosts.Records(), Credential: w.scaleSets.Credential,
			Sessions: func(e fleet.SessionEvent) { w.hosts.Session(ctx, e) },
		})
		require.NoError(t, err)
		require.NoError(t, w.hosts.Bind(ctx, w.fleet))
		w.hosts.BindTerminator(w.loop)
		c.Events, c.Hosts, c.ScaleSets, c.Fleet, c.Terminator = w.events, w.hosts, w.scaleSets, w.fleet, w.loop
	}}, adjust...)...)
	w.mux.Handle(wire.Path, w.fleet.Handler())
	w.background(w.events.Run, w.hosts.Run, w.fleet.Run)
	return w
}

// background runs parts until the test's end.
func (w *world) background(parts ...func(context.Context) error) {
	ctx, stop := context.WithCancel(context.WithoutCancel(w.t.Context()))
	var ran sync.WaitGroup
	for _, part := range parts {
		ran.Go(func() {
			if err := part(ctx); err != nil && ctx.Err() == nil {
				w.t.Error(err)
			}
		})
	}
	w.t.Cleanup(func() {
		stop()
		ran.Wait()
	})
}

// machine is a host's side: an agent and an engine.
type machine struct {
	id     string
	mu     sync.Mutex
	token  tokens.Token
	engine *memory.Engine
	stop   func()
}

func (m *machine) current() tokens.Token {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.token
}

// add makes a host by the API and returns what enrols it.
func (w *world) add(name string) (host api.Host, enrolment tokens.Token) {
	w.t.Helper()
	var made api.NewHost
	w.into(http.StatusCreated, w.do("POST", "hosts", api.HostSpec{Name: name}), &made)
	return made.Host, w.enrolmentOf(made.Enrolment.Line)
}

// enrolmentOf is the token in a line.
func (w *world) enrolmentOf(line string) tokens.Token {
	w.t.Helper()
	text, found := strings.CutPrefix(line, "curl -fsSL "+publicURL+"/install/")
	require.True(w.t, found, line)
	text, found = strings.CutSuffix(text, ".sh | sudo bash")
	require.True(w.t, found, line)
	token, err := tokens.Parse(text)
	require.NoError(w.t, err)
	require.Equal(w.t, tokens.Enrolment, token.Kind())
	return token
}

// connect enrols a machine as the host and starts an agent on it.
func (w *world) connect(host api.Host, enrolment tokens.Token) *machine {
	w.t.Helper()
	m := &machine{id: uuid.NewString(), token: tokens.New(tokens.Agent), engine: memory.New(memory.Config{})}
	_, err := w.hosts.Enrol(w.t.Context(), enrolment, m.id, m.token.Digest())
	require.NoError(w.t, err)
	w.agents[host.Name] = m
	w.start(m, host.ID)
	return m
}

func (w *world) start(m *machine, owner string) {
	w.t.Helper()
	a, err := agent.New(agent.Config{
		Hub: w.server.URL, InsecureHTTP: true, Token: m.current, Backend: m.engine.Backend(owner),
		ID: m.id, Engine: "engine-" + m.id, Version: "0.0.1", Facts: agent.Facts{OS: "linux", Arch: "amd64", CPUs: 4, Memory: 8 << 30},
		Rotate: func(context.Context) (tokens.Digest, error) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.token = tokens.New(tokens.Agent)
			return m.token.Digest(), nil
		},
	})
	require.NoError(w.t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	var ran sync.WaitGroup
	ran.Go(func() { _ = a.Run(ctx) })
	m.stop = sync.OnceFunc(func() {
		cancel()
		ran.Wait()
	})
	w.t.Cleanup(m.stop)
}
