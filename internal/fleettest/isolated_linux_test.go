package fleettest

import (
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// A scale set that asks for isolation gets the isolating runtime of the host that
// has one, and no other host.
func TestIsolatedRuntime(t *testing.T) {
	s := newSite(t, nil)
	runc, err := exec.LookPath("runc")
	require.NoError(t, err)
	plain := s.newHost("plain")
	able := s.newHost("able", "--add-runtime=sysbox-runc="+runc)
	plain.join()
	able.join("--max-runners", "4")
	require.Contains(t, s.host("able").Runtimes, "sysbox-runc")
	s.apply(scaleSet("apart", "apart", "max: 4, runtime: isolated, hosts: [plain, able]") + scaleSet("shared", "shared", "max: 1, hosts: [able]"))
	require.Regexp(t, `(?m)^plain\s+no\s+.*runtime`, s.cli("scale-sets", "why", "apart"))
	require.Regexp(t, `(?m)^able\s+yes`, s.cli("scale-sets", "why", "apart"))

	ids := []string{s.submit("apart", waiting("seen")), s.submit("apart", waiting("seen")), s.submit("shared", waiting("seen"))}
	for i, runtime := range []string{"sysbox-runc", "sysbox-runc", "runc"} {
		s.reaches(ids[i], "running")
		found, err := able.engine.ContainerInspect(t.Context(), s.container(ids[i]))
		require.NoError(t, err)
		require.Equal(t, runtime, found.HostConfig.Runtime)
	}
	require.Empty(t, plain.containers())
	able.release("seen")
	for _, id := range ids {
		s.reaches(id, "succeeded")
	}
	s.cli("hosts", "cordon", "able")
	held := s.submit("apart", "true")
	require.Regexp(t, `(?m)^able\s+no\s+cordoned`, s.cli("scale-sets", "why", "apart"))
	s.empty()
	require.Nil(t, s.job(held).StartedAt, "nothing falls back to a shared runtime")
	require.Contains(t, s.cli("jobs", "cancel", held), held)
}
