package fleettest

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/internal/enginetest"
	"github.com/slipway-ci/slipway/tokens"
)

// A hub and an agent on one machine, with one secret in both environments, run jobs
// with no step by hand, on the addresses that both have by default.
func TestLocalAgent(t *testing.T) {
	secret := tokens.New(tokens.Agent)
	env := map[string]string{"SLIPWAY_LOCAL_AGENT_TOKEN": secret.Reveal()}
	n := newNamespace(t)
	s := newLocalSite(t, n, env)
	daemon := enginetest.NewDaemon(t, n.path()) // after the hub, as it may be when a machine starts
	h := &host{site: s, name: "local", net: n}
	h.open(daemon)
	s.hosts["local"] = h
	h.agent = start(n, with(env, "SLIPWAY_HUB", s.url), "slipway-agent", "run", "--data", filepath.Join(t.TempDir(), "agent"), "--docker-host", daemon.Host)
	s.ready("local")
	eventually(t, patience, func() string {
		if told := s.get("/api/v1/hub"); strings.Contains(told, `"runner_url":"http://127.`) {
			return "the engine's bridge is not served: " + told
		}
		return ""
	})
	s.apply(`  here: {labels: [linux], image: "` + h.image + `", inject_runner: true, pull_policy: never, cpu: 0.1, memory: 64MiB, max: 2, hosts: [local]}`)
	var ids []string
	for range 3 {
		ids = append(ids, s.submit("linux", "echo from here"))
	}
	for _, id := range ids {
		s.reaches(id, "succeeded")
		require.Contains(t, s.cli("jobs", "logs", id), "from here")
	}
	s.empty()
	require.NotContains(t, h.agent.output()+s.hub.output(), secret.Reveal())
}
