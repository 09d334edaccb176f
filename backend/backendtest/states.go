package backendtest

import (
	"fmt"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
)

var states = []promise{
	{"state/exited", "exit code 0 means that the runner did its job; the loop removes it and counts no crash", stateExited},
	{"state/failed", "the exit code tells a crash from a job that failed, and is shown to people", stateFailed},
	{"state/killed", "a runner that was killed from outside counts as 128+9, as in a shell", stateKilled},
	{"state/out of memory", "people raise a limit when they are told that it was too low, and search for days when not", stateStarved},
	{"state/ended ones stay", "a runner is reported before it is removed: one that vanishes by itself was never reported", stateEndedStay},
}

func stateExited(s *suite) {
	r := s.ended(s.b, s.launch(s.harness.Exits(0)))
	require.Equal(s, backend.Exited, r.State)
	require.NotNil(s, r.ExitCode)
	require.Equal(s, 0, *r.ExitCode)
	require.False(s, r.OOMKilled)
}

func stateFailed(s *suite) {
	codes := map[string]int{}
	for _, code := range []int{1, 7, 255} {
		codes[s.launch(s.harness.Exits(code))] = code
	}
	for id := range codes {
		s.ended(s.b, id)
	}
	for id, code := range codes { // when all have ended
		r := s.must(s.b, id)
		require.Equal(s, backend.Failed, r.State, "exit code %d", code)
		s.exited(r, code)
		require.False(s, r.OOMKilled)
	}
}

// exited checks the exit code.
func (s *suite) exited(r backend.Runner, code int) {
	s.Helper()
	require.NotNil(s, r.ExitCode, "the exit code, which is %d", code)
	require.Equal(s, code, *r.ExitCode, "the exit code")
}

func stateKilled(s *suite) {
	killer := need[Killer](s)
	id, other := s.running(), s.running()
	killer.Kill(s.T, id)
	r := s.ended(s.b, id)
	require.Equal(s, backend.Failed, r.State)
	require.NotNil(s, r.ExitCode)
	require.Equal(s, 128+9, *r.ExitCode)
	require.False(s, r.OOMKilled, "SIGKILL alone is no proof of a lack of memory")
	require.Equal(s, backend.Running, s.must(s.b, other).State, "its neighbour")
}

func stateStarved(s *suite) {
	starver := need[Starver](s)
	r := s.ended(s.b, s.launch(starver.OutOfMemory()))
	require.Equal(s, backend.Failed, r.State)
	require.True(s, r.OOMKilled, "told as %s", describe(r))
}

func describe(r backend.Runner) string {
	if r.ExitCode == nil {
		return fmt.Sprintf("%s, exit code unknown, %q", r.State, r.Error)
	}
	return fmt.Sprintf("%s, exit code %d, %q", r.State, *r.ExitCode, r.Error)
}

func stateEndedStay(s *suite) {
	id := s.launch(s.harness.Exits(2))
	first := s.ended(s.b, id)
	s.running() // time and other launches change nothing
	require.Equal(s, first, s.must(s.b, id))
	require.NoError(s, s.b.Remove(s.ctx(), id))
	s.gone(s.b, id)
}
