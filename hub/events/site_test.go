package events_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/agent"
	"github.com/slipway-ci/slipway/backend/memory"
	"github.com/slipway-ci/slipway/hub"
	"github.com/slipway-ci/slipway/hub/client"
	"github.com/slipway-ci/slipway/tokens"
)

// site is a hub on a folder. Beside the folder is the credential of its only host's
// agent, and the address for that.
type site struct {
	*hub.Hub
	*client.Client
	admin tokens.Token
	dir   string
}

func openSite(ctx context.Context, dir string) (*site, error) {
	text, err := os.ReadFile(dir + ".token")
	if err != nil {
		return nil, err
	}
	token, err := tokens.Parse(string(text))
	if err != nil {
		return nil, err
	}
	h, err := hub.Open(ctx, hub.Config{
		DataDir: dir, Listen: "127.0.0.1:0", MinFree: 1, MinFreePercent: 0.0001, Reserve: 4096, LocalAgentToken: token,
	})
	if err != nil {
		return nil, err
	}
	admin, err := h.NewAdminToken(ctx, "test")
	if err != nil {
		return nil, err
	}
	c, err := client.New(client.Config{URL: h.URL(), Token: admin.Reveal()})
	return &site{h, c, admin, dir}, err
}

// open lets the agent in.
func (s *site) open() error {
	return os.WriteFile(s.dir+".address", []byte(strings.TrimPrefix(s.URL(), "http://")), 0o600)
}

// lists says whether the hub's loop has looked at the fleet.
func (s *site) lists(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL()+"/metrics", nil)
	if err != nil {
		return false
	}
	req.Header.Set("Authorization", "Bearer "+s.admin.Reveal())
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return err == nil && strings.Contains(string(text), "\nslipway_list_age_seconds")
}

// runSite runs a hub on the folder until the test's end.
func runSite(t *testing.T, dir string) *site {
	t.Helper()
	s, err := openSite(t.Context(), dir)
	require.NoError(t, err)
	until(t, func(ctx context.Context) { _ = s.Run(ctx) })
	return s
}

// runHost runs the agent of the folder's hub, wherever that is, and returns its engine.
func runHost(t *testing.T, dir string, config memory.Config) *memory.Engine {
	t.Helper()
	token, id, engine := tokens.New(tokens.Agent), uuid.NewString(), memory.New(config)
	require.NoError(t, os.WriteFile(dir+".token", []byte(token.Reveal()), 0o600))
	a, err := agent.New(agent.Config{
		Hub: "http://hub.test", InsecureHTTP: true, Token: func() tokens.Token { return token }, Backend: engine.Backend(id), ID: id, Engine: "engine",
		Version: "0.0.1", Facts: agent.Facts{OS: "linux", Arch: "amd64", CPUs: 4}, RetryMin: 20 * time.Millisecond, RetryMax: 100 * time.Millisecond,
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			address, err := os.ReadFile(dir + ".address")
			if err != nil {
				return nil, err
			}
			return (&net.Dialer{}).DialContext(ctx, "tcp", string(address))
		},
	})
	require.NoError(t, err)
	until(t, func(ctx context.Context) { _ = a.Run(ctx) })
	return engine
}

// until runs a part until the test's end.
func until(t *testing.T, run func(context.Context)) {
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var ran sync.WaitGroup
	ran.Go(func() { run(ctx) })
	t.Cleanup(func() {
		stop()
		ran.Wait()
	})
}
