package hosts

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/agent"
	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/memory"
	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/tokens"
)

// site is a registry and a fleet that work together, as in a hub.
type site struct {
	registry *Registry
	fleet    *fleet.Fleet
	stop     func()
}

func openSite(t *testing.T, dir string, serve *atomic.Value) *site {
	t.Helper()
	db, err := store.Open(t.Context(), store.Config{Dir: dir})
	require.NoError(t, err)
	r, err := New(t.Context(), Config{Store: db, PublicURL: public, Pace: 10 * time.Millisecond})
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
	mux.Handle(EnrolPath, r.EnrolHandler())
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

// TestWithARealFleetAndAgent is a host's life: enrolled over HTTP, given a runner,
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
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+EnrolPath, strings.NewReader(body(agentA, first.Digest())))
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+i.Token.Reveal())
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	var answer EnrolAnswer
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&answer))
	require.NoError(t, resp.Body.Close())
	http.DefaultClient.CloseIdleConnections()
	require.Equal(t, h.ID, answer.Host)

	removed := make(chan struct{})
	engine := memory.New(memory.Config{})
	a, err := agent.New(agent.Config{
		Hub: server.URL, Token: kept.token, Refused: kept.refused, Rotate: kept.rotate, Removed: func(context.Context) { close(removed) },
		Backend: engine.Backend(answer.Owner), ID: agentA, Engine: "ENG:1", Version: "v1.2.0", RetryMin: 5 * time.Millisecond, RetryMax: 50 * time.Millisecond,
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
	_, err = s.registry.Authenticate(t.Context(), first.Digest())
	require.ErrorIs(t, err, fleet.ErrRefused, "which ended the old one")
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
