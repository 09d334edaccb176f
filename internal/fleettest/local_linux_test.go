package fleettest

import (
	"path/filepath"
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
	daemon := enginetest.NewDaemon(t, n.path())
	s := newLocalSite(t, n, env)
	h := &host{site: s, name: "local", net: n}
	h.open(daemon)
	s.hosts["local"] = h
	h.agent = start(n, with(env, "SLIPWAY_HUB", s.url), "slipway-agent", "run", "--data", filepath.Join(t.TempDir(), "agent"), "--docker-host", daemon.Host)
	s.ready("local")
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
