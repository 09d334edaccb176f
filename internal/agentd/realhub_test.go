package agentd

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/hub/hosts"
	"github.com/slipway-ci/slipway/hub/hosts/enrolapi"
	"github.com/slipway-ci/slipway/hub/install"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/hub/store/storetest"
	"github.com/slipway-ci/slipway/internal/agentd/identity"
	"github.com/slipway-ci/slipway/internal/release"
	"github.com/slipway-ci/slipway/tokens"
)

// realHub is the hub's own parts for hosts, as far as agents meet them.
type realHub struct {
	t      *testing.T
	hosts  *hosts.Registry
	fleet  *fleet.Fleet
	server *httptest.Server
	agents string // its folder of programs
	key    release.PrivateKey
}

func newRealHub(t *testing.T) *realHub {
	t.Helper()
	h := &realHub{t: t, agents: t.TempDir()}
	db, err := store.Open(t.Context(), store.Config{Dir: storetest.Dir(t)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	mux := http.NewServeMux()
	h.server = httptest.NewServer(mux)
	h.hosts, err = hosts.New(t.Context(), hosts.Config{Store: db, PublicURL: h.server.URL, Pace: 20 * time.Millisecond})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	h.fleet, err = fleet.New(fleet.Config{
		Authenticate: h.hosts.Authenticate, Store: h.hosts.Records(), Sessions: func(e fleet.SessionEvent) { h.hosts.Session(ctx, e) },
	})
	require.NoError(t, err)
	require.NoError(t, h.hosts.Bind(t.Context(), h.fleet))
	var public release.PublicKey
	h.key, public, err = release.GenerateKey()
	require.NoError(t, err)
	require.NoError(t, release.WritePublicKey(filepath.Join(h.agents, "update-key.pub"), public))
	site, err := install.New(install.Config{
		PublicURL: h.server.URL, AgentsDir: h.agents,
		Hosts: install.InviterFunc(func(context.Context, tokens.Token) (install.Invited, error) {
			return install.Invited{}, install.ErrUnknown
		}),
	})
	require.NoError(t, err)
	mux.Handle(enrolapi.Path, enrolapi.Handler(h.hosts, hclog.NewNullLogger()))
	mux.Handle(fleet.Path, h.fleet.Handler())
	mux.Handle("/install/", site)
	var parts sync.WaitGroup
	parts.Go(func() { _ = h.fleet.Run(ctx) })
	parts.Go(func() { _ = h.hosts.Run(ctx) })
	t.Cleanup(func() {
		stop()
		parts.Wait()
		h.server.Close()
	})
	return h
}

// state is how a host does, as the fleet has it.
func (h *realHub) state(id string) fleet.HostState {
	for _, s := range h.fleet.Hosts() {
		if s.ID == id {
			return s
		}
	}
	return fleet.HostState{}
}

func (h *realHub) online(id string) {
	h.t.Helper()
	eventually(h.t, func() bool { s := h.state(id); return s.Online && s.Ready }, "the host never comes online")
}

// publish puts a signed variant into the hub's folder.
func (h *realHub) publish(version, mode string) {
	h.t.Helper()
	path := filepath.Join(h.agents, "slipway-agent-"+runtime.GOOS+"-"+runtime.GOARCH)
	variantOf(h.t, path+".new", version, mode)
	m, err := release.Describe(path+".new", version, runtime.GOOS, runtime.GOARCH)
	require.NoError(h.t, err)
	m, err = release.Sign(m, h.key)
	require.NoError(h.t, err)
	require.NoError(h.t, release.Write(path+".manifest", m))
	require.NoError(h.t, os.Rename(path+".new", path))
}

// TestWithTheRealHub has the real hub and the real program go a host's whole way.
func TestWithTheRealHub(t *testing.T) {
	t.Parallel()
	h := newRealHub(t)
	host, invitation, err := h.hosts.Add(t.Context(), hosts.HostSpec{Name: "builder-01"})
	require.NoError(t, err)
	data := filepath.Join(t.TempDir(), "data")
	clearLater(t, data)
	p := begin(t, good(t), invitation.Token.Reveal(), nil, "enrol", "--data", data, "--hub", h.server.URL, "--token-file", "-")
	require.Equal(t, 0, p.code())
	a := begin(t, good(t), "", nil, "run", "--backend", "process", "--data", data)
	h.online(host.ID)

	id := uuid.Must(uuid.NewV7()).String()
	require.NoError(t, h.fleet.Launch(t.Context(), backend.Spec{ID: id, Command: []string{"sleep", "600"}}))
	running := func() bool {
		list, err := h.fleet.List(t.Context())
		return err == nil && len(list.Runners) == 1 && list.Runners[0].ID == id && list.Runners[0].State == backend.Running
	}
	eventually(t, running, "it never runs")

	folder, err := identity.Find(data)
	require.NoError(t, err)
	before, err := folder.Token()
	require.NoError(t, err)
	require.NoError(t, h.hosts.RotateToken(t.Context(), "builder-01"))
	eventually(t, func() bool { now, err := folder.Token(); return err == nil && !now.Equal(before) }, "the token stays")
	h.online(host.ID)
	_, err = h.hosts.Authenticate(t.Context(), before.Digest())
	require.ErrorIs(t, err, fleet.ErrRefused, "the old one is over once the new one was used")

	h.publish("v1.1.0", "good")
	require.NoError(t, h.hosts.Update(t.Context(), []string{"builder-01"}, hosts.UpdateSpec{Version: "v1.1.0"}))
	eventually(t, func() bool { s := h.state(host.ID); return s.Version == "v1.1.0" && s.Online && s.Ready }, "the hub never sees the new version")
	eventually(t, running, "a runner does not survive an update")
	eventually(t, func() bool {
		now, err := h.hosts.Host(t.Context(), "builder-01")
		return err == nil && now.AgentVersion == "v1.1.0" && now.UpdateTo == "" && now.UpdateProblem == ""
	}, "the order is never done")

	_, again, err := h.hosts.Reenrol(t.Context(), "builder-01", hosts.ReenrolSpec{})
	require.NoError(t, err)
	_, err = Enrol(t.Context(), Enrolment{Data: data, Hub: h.server.URL, Token: again.Token})
	require.NoError(t, err)
	h.online(host.ID)
	eventually(t, running, "a runner does not survive a re-enrolment")

	require.NoError(t, h.fleet.Remove(t.Context(), id))
	require.Error(t, h.hosts.Remove(t.Context(), "builder-01", 0, false), "it is online")
	require.NoError(t, h.hosts.Remove(t.Context(), "builder-01", 0, true))
	a.says("slipway-agent purge --all")
	require.Nil(t, a.cmd.ProcessState, "it stays")
}
