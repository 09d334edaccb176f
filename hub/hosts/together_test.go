package hosts

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/agent"
	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/memory"
	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/hub/store/storetest"
	"github.com/slipway-ci/slipway/internal/wire"
	"github.com/slipway-ci/slipway/tokens"
)

// site is a registry and a fleet that work together, as in a hub.
type site struct {
	registry *Registry
	fleet    *fleet.Fleet
	stop     func()
}

func openSite(t *testing.T, dir string, serve *atomic.Value, change ...func(*Config)) *site {
	t.Helper()
	db, err := store.Open(t.Context(), store.Config{Dir: dir})
	require.NoError(t, err)
	config := Config{Store: db, PublicURL: public, Pace: 10 * time.Millisecond}
	for _, c := range change {
		c(&config)
	}
	r, err := New(t.Context(), config)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	f, err := fleet.New(fleet.Config{
		Authenticate: r.Authenticate, Store: r.Records(), Heartbeat: time.Second,
		Sessions: func(e fleet.SessionEvent) { r.Session(ctx, e) },
	})
	require.NoError(t, err)
	require.NoError(t, r.Bind(t.Context(), f))
	var ran sync.WaitGroup
	ran.Go(func() { _ = f.Run(ctx) })
	ran.Go(func() { _ = r.Run(ctx) })
	mux := http.NewServeMux()
	mux.Handle(fleet.Path, f.Handler())
	serve.Store(http.Handler(mux))
	s := &site{registry: r, fleet: f, stop: sync.OnceFunc(func() {
		cancel()
		ran.Wait()
		require.NoError(t, db.Close())
	})}
	t.Cleanup(s.stop)
	return s
}

// wallet is what an agent keeps: its tokens, the newest last.
type wallet struct {
	mu     sync.Mutex
	tokens []tokens.Token
	tried  int
}

func (k *wallet) token() tokens.Token {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.tokens[len(k.tokens)-1-k.tried%len(k.tokens)]
}

func (k *wallet) refused(tokens.Token) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tried++
}

func (k *wallet) rotate(context.Context) (tokens.Digest, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tokens, k.tried = append(k.tokens, tokens.New(tokens.Agent)), 0
	return k.tokens[len(k.tokens)-1].Digest(), nil
}

// TestWithARealFleetAndAgent is a host's life: enrolled, given a runner,
// its token rotated, its hub restarted, and removed.
func TestWithARealFleetAndAgent(t *testing.T) {
	dir := t.TempDir()
	var serve atomic.Value
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { serve.Load().(http.Handler).ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	s := openSite(t, dir, &serve)
	h, i, err := s.registry.Add(t.Context(), HostSpec{Name: "builder-01", MaxRunners: 4})
	require.NoError(t, err)

	first := tokens.New(tokens.Agent)
	kept := &wallet{tokens: []tokens.Token{first}}
	enrolled, err := s.registry.Enrol(t.Context(), i.Token, agentA, first.Digest())
	require.NoError(t, err)
	require.Equal(t, h.ID, enrolled.ID)

	removed := make(chan struct{})
	engine := memory.New(memory.Config{})
	a, err := agent.New(agent.Config{
		Hub: server.URL, Token: kept.token, Refused: kept.refused, Rotate: kept.rotate, Removed: func(context.Context) { close(removed) },
		Backend: engine.Backend(enrolled.ID), ID: agentA, Engine: "ENG:1", Version: "v1.2.0", RetryMin: 5 * time.Millisecond, RetryMax: 50 * time.Millisecond,
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var ran sync.WaitGroup
	ran.Go(func() { _ = a.Run(ctx) })
	t.Cleanup(func() { cancel(); ran.Wait() })
	ready := func(what string, holds int) {
		t.Helper()
		require.Eventually(t, func() bool {
			st := s.fleet.Hosts()
			return len(st) == 1 && st[0].Ready && st[0].Held == holds
		}, 20*time.Second, 5*time.Millisecond, what)
	}
	ready("it is online", 0)
	require.Eventually(t, func() bool {
		seen, err := s.registry.Host(t.Context(), "builder-01")
		return err == nil && seen.Engine == "ENG:1" && seen.AgentVersion == "v1.2.0" && seen.Facts.CPUs > 0
	}, 30*time.Second, 5*time.Millisecond, "what it told is kept")

	runner := newID()
	require.NoError(t, s.fleet.Launch(t.Context(), backend.Spec{ID: runner, Command: []string{"run"}}))
	require.NoError(t, s.registry.RotateToken(t.Context(), "builder-01"))
	ready("it came back with its new token", 1)
	require.Eventually(t, func() bool {
		_, err := s.registry.Authenticate(t.Context(), first.Digest())
		return errors.Is(err, fleet.ErrRefused)
	}, 30*time.Second, 10*time.Millisecond, "which ended the old one")
	records, err := s.registry.Records().Load(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{runner + " " + h.ID}, ids(records))

	s.stop()
	s = openSite(t, dir, &serve)
	ready("after a restart of the hub it is adopted with its runner", 1)
	require.ErrorIs(t, s.registry.Remove(t.Context(), "builder-01", 0, false), ErrBusy)
	require.NoError(t, s.registry.Remove(t.Context(), "builder-01", 0, true))
	select {
	case <-removed:
	case <-time.After(20 * time.Second):
		t.Fatal("its agent was not told that it was removed")
	}
	require.Empty(t, s.fleet.Hosts())
	records, err = s.registry.Records().Load(t.Context())
	require.NoError(t, err)
	require.Empty(t, records)
	_, err = s.registry.Authenticate(t.Context(), kept.token().Digest())
	require.ErrorIs(t, err, fleet.ErrRemoved)
}

func ids(records []fleet.Record) (out []string) {
	for _, r := range records {
		out = append(out, r.Runner+" "+r.Host)
	}
	slices.Sort(out)
	return out
}

// TestAHostThatExistsTwice has two agents by hand come under one credential, as from a
// copied data folder.
func TestAHostThatExistsTwice(t *testing.T) {
	var serve atomic.Value
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { serve.Load().(http.Handler).ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	told := make(chan string, 100)
	s := openSite(t, storetest.Dir(t), &serve, func(c *Config) {
		c.Events = func(kind, object, text string) { told <- kind + " " + object + ": " + text }
	})
	h, i, err := s.registry.Add(t.Context(), HostSpec{Name: "builder-01"})
	require.NoError(t, err)
	token := tokens.New(tokens.Agent)
	_, err = s.registry.Enrol(t.Context(), i.Token, agentA, token.Digest())
	require.NoError(t, err)
	comes := func(instance string) string {
		t.Helper()
		dialer := websocket.Dialer{Subprotocols: []string{wire.Subprotocol}}
		conn, _, err := dialer.DialContext(t.Context(), strings.Replace(server.URL, "http", "ws", 1)+fleet.Path, http.Header{"Authorization": {"Bearer " + token.Reveal()}})
		require.NoError(t, err)
		t.Cleanup(func() { conn.Close() })
		require.NoError(t, conn.WriteMessage(websocket.TextMessage, []byte(`{"type":"hello","hello":{"protocol":1,"agent":"`+agentA+`","instance":"`+instance+`","facts":{}}}`)))
		_, answer, err := conn.ReadMessage()
		require.NoError(t, err)
		return string(answer)
	}
	problem := func() string { st, _ := s.fleet.Host(h.ID); return st.Problem }
	require.Contains(t, comes("one"), "welcome")
	require.Contains(t, comes("one"), "welcome", "it comes back")
	require.Contains(t, comes("two"), "welcome", "one that was started anew")
	require.NotContains(t, problem(), "host-duplicated")
	require.Contains(t, comes("one"), "host-duplicated")
	require.Regexp(t, "^host-duplicated: two agents live .* stop the one .*slipway hosts add", problem())
	require.Contains(t, comes("two"), "welcome")
	require.Contains(t, comes("one"), "host-duplicated")
	for event := ""; !strings.HasPrefix(event, "host-duplicated host/builder-01: two agents live"); {
		select {
		case event = <-told:
		case <-time.After(20 * time.Second):
			t.Fatal("no event tells of it")
		}
	}

	_, again, err := s.registry.Reenrol(t.Context(), "builder-01", ReenrolSpec{})
	require.NoError(t, err)
	token = tokens.New(tokens.Agent)
	_, err = s.registry.Enrol(t.Context(), again.Token, agentA, token.Digest())
	require.NoError(t, err)
	require.Contains(t, comes("one"), "welcome", "it was enrolled anew while it ran")
	require.NotContains(t, problem(), "host-duplicated")
}
