package backendtest

import (
	"errors"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
)

var ownership = []promise{
	{"owner/sees its own only", "two provisioners on one engine would adopt, report and end each other's runners", ownerSees},
	{"owner/removes its own only", "ending another owner's runner kills a job that nobody here knows", ownerRemoves},
	{"owner/launches beside another's", "an id of another owner is not ours: success would be told for a runner that is never listed", ownerLaunches},
	{"owner/strangers are left alone", "what does not carry our owner's id in our form belongs to somebody, who wants to keep it", ownerStrangers},
}

// neighbour opens a second owner whose name begins with the first one's.
func (s *suite) neighbour() backend.Backend {
	s.Helper()
	return s.open(s.owner + "-2")
}

func ownerSees(s *suite) {
	b := s.neighbour()
	mine := s.running()
	theirs := s.spec(s.harness.Runs())
	s.launchSpec(b, theirs)

	require.Len(s, s.list(s.b).Runners, 1)
	s.must(s.b, mine)
	require.Len(s, s.list(b).Runners, 1)
	s.must(b, theirs.ID)
}

func ownerRemoves(s *suite) {
	b := s.neighbour()
	mine := s.running()
	before := s.must(s.b, mine)
	require.NoError(s, b.Remove(s.ctx(), mine), "to another owner it never was, and removing that is nil")
	require.Equal(s, before, s.must(s.b, mine))
	s.alive(mine, 1)

	_, err := backend.Logs(s.ctx(), b, mine, 0)
	require.Error(s, err, "another owner's log")
}

func ownerLaunches(s *suite) {
	b := s.neighbour()
	spec := s.spec(s.harness.Runs())
	s.launchSpec(s.b, spec)
	before := s.runs(spec.ID)

	again := spec
	again.Labels = map[string]string{"template": "theirs"}
	err := b.Launch(s.ctx(), again)
	if err == nil || errors.Is(err, backend.ErrExists) {
		r := s.must(b, spec.ID)
		require.Equal(s, again.Labels, r.Labels)
	}
	require.Equal(s, before, s.must(s.b, spec.ID), "the first owner's runner")
	require.NoError(s, b.Remove(s.ctx(), spec.ID))
	require.Equal(s, before, s.must(s.b, spec.ID), "the first owner's runner after the other's Remove")
}

func ownerStrangers(s *suite) {
	check := need[Stranger](s).Strangers(s.T, s.owner)
	require.Empty(s, s.list(s.b).Runners, "listed as ours")
	id := s.running()
	require.Len(s, s.list(s.b).Runners, 1)
	require.NoError(s, s.b.Remove(s.ctx(), id))
	if r, ok := s.harness.(Reopener); ok {
		s.reopen(r)
		require.Empty(s, s.list(s.b).Runners, "adopted after a restart")
	}
	check(s.T)
}
