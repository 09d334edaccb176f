package agentd

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/internal/agentd/identity"
)

func TestSupervisor(t *testing.T) {
	for name, c := range map[string]struct {
		pid, parent        int
		invoked, contained bool
		want               supervisor
	}{
		"a service":                        {4711, 1, true, false, bySystemd},
		"a service in a container":         {4711, 1, true, true, bySystemd},
		"a container":                      {1, 0, false, true, byContainer},
		"a container of an unknown engine": {1, 0, false, false, byContainer},
		"a container with an init":         {7, 1, false, true, byContainer},
		"beside a container's program":     {42, 0, false, true, byHand},
		"a shell in a container":           {42, 7, false, true, byHand},
		"a terminal":                       {4711, 4700, false, false, byHand},
		"a terminal of a desktop":          {4711, 4700, true, false, byHand},
		"its terminal is gone":             {4711, 1, false, false, byHand},
	} {
		require.Equal(t, c.want, supervisorOf(c.pid, c.parent, c.invoked, c.contained), name)
	}
}

// TestFarewell: what a removed host's operator is told works where the agent lives.
func TestFarewell(t *testing.T) {
	t.Setenv("DOCKER_HOST", "")
	c := Config{Data: DefaultData}
	require.Equal(t, "run: systemctl stop slipway-agent && slipway-agent purge --all --with-data --data /var/lib/slipway-agent", c.farewell(bySystemd))
	require.Equal(t, "run on the host: docker stop slipway-agent && docker run --rm --volumes-from slipway-agent --userns host --security-opt label=disable "+
		`"$(docker inspect --format '{{.Config.Image}}' slipway-agent)" purge --all --with-data --data /var/lib/slipway-agent --yes && docker rm slipway-agent`, c.farewell(byContainer))
	c.Data, c.DockerHost = "/srv/it's", "tcp://10.0.0.1:2376"
	require.Equal(t, `stop this program and run: slipway-agent purge --all --with-data --data '/srv/it'\''s' --docker-host tcp://10.0.0.1:2376`, c.farewell(byHand))
	c.Backend = "process"
	require.Equal(t, `stop this program and run: slipway-agent purge --all --with-data --data '/srv/it'\''s' --backend process`, c.farewell(byHand))
}

// TestARunningAgentSaysHowItIsStopped: to a purge, which is another process.
func TestARunningAgentSaysHowItIsStopped(t *testing.T) {
	folder, err := identity.Open(t.TempDir())
	require.NoError(t, err)
	lock, err := folder.Lock()
	require.NoError(t, err)
	defer lock.Release()
	require.EqualError(t, stillRuns(folder), "the agent runs: stop it first")
	for by, want := range map[supervisor]string{
		bySystemd:   "the agent runs: stop it first (systemctl stop slipway-agent)",
		byContainer: "the agent runs: stop it first (docker stop slipway-agent)",
		byHand:      "the agent runs: stop it first",
	} {
		require.NoError(t, folder.Write(reportName, []byte(`{"supervisor":"`+string(by)+`"}`)))
		require.EqualError(t, stillRuns(folder), want)
	}
}
