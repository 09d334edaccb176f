package standalone

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// SHIPFOX_PROVISIONER_DOCKER_HOST wins over DOCKER_HOST, and that over the local
// socket.
func TestWhichEngineIsAsked(t *testing.T) {
	const ours, theirs = "/nonexistent/ours.sock", "/nonexistent/theirs.sock"
	a := newAPI(t, "head")
	env := with(onProcess(t, a, templates(t, oneTemplate)), "SLIPWAY_BACKEND", "docker", "DOCKER_HOST", "unix://"+theirs)
	for name, c := range map[string]struct {
		env           map[string]string
		asked, spared string
	}{
		"both are set":      {with(env, "SHIPFOX_PROVISIONER_DOCKER_HOST", "unix://"+ours), ours, theirs},
		"DOCKER_HOST alone": {env, theirs, ours},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, c.env, "--check")
			require.Equal(t, 1, p.exit(), "there is no engine")
			require.Contains(t, p.output(), c.asked)
			require.NotContains(t, p.output(), c.spared)
		})
	}
	t.Run("the flag wins over all", func(t *testing.T) {
		p := start(t, with(env, "SHIPFOX_PROVISIONER_DOCKER_HOST", "unix://"+theirs), "--check", "--docker-host", "unix://"+ours)
		require.Equal(t, 1, p.exit())
		require.Contains(t, p.output(), ours)
		require.NotContains(t, p.output(), theirs)
	})
}
