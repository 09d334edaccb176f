package backendtest

import (
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
)

var removing = []promise{
	{"remove/running", "its slot is given to the next job when Remove returns: two would share the room of one", removeRunning},
	{"remove/twice", "a retry after a lost answer must not fail for ever", removeTwice},
	{"remove/unknown", "the loop removes ids whose launch it gave up, most of which never came to be", removeUnknown},
	{"remove/in parallel", "the loop and an operator may remove the same runner", removeInParallel},
	{"remove/leaves the others", "one runner's end must not end another's job", removeLeavesOthers},
	{"remove/while it is launched", "a cancelled job may end its runner before that has started", removeDuringLaunch},
}

func removeRunning(s *suite) {
	id := s.running()
	s.alive(id, 1)
	require.NoError(s, s.b.Remove(s.ctx(), id))
	s.gone(s.b, id)
	s.dead(id)
}

func removeTwice(s *suite) {
	id := s.running()
	require.NoError(s, s.b.Remove(s.ctx(), id))
	require.NoError(s, s.b.Remove(s.ctx(), id), "the second time")
	s.gone(s.b, id)
}

func removeUnknown(s *suite) {
	id, err := uuid.NewV7()
	require.NoError(s, err)
	require.NoError(s, s.b.Remove(s.ctx(), id.String()))
}

func removeInParallel(s *suite) {
	id := s.running()
	for _, err := range together(crowd, func(int) error { return s.b.Remove(s.ctx(), id) }) {
		require.NoError(s, err)
	}
	s.gone(s.b, id)
	s.dead(id)
}

func removeLeavesOthers(s *suite) {
	goes, stays := s.running(), s.running()
	ended := s.launch(s.harness.Exits(0))
	s.ended(s.b, ended)
	before := s.must(s.b, stays)
	require.NoError(s, s.b.Remove(s.ctx(), goes))
	require.NoError(s, s.b.Remove(s.ctx(), ended))
	require.Equal(s, before, s.must(s.b, stays))
	s.alive(stays, 1)
	require.Len(s, s.list(s.b).Runners, 1)
}

func removeDuringLaunch(s *suite) {
	spec := s.spec(s.harness.Runs())
	errs := together(2, func(i int) error {
		if i == 0 {
			return s.b.Launch(s.ctx(), spec)
		}
		return s.b.Remove(s.ctx(), spec.ID)
	})
	require.NoError(s, errs[1], "remove")
	if errs[0] != nil {
		s.Logf("the launch that was overtaken: %v", errs[0])
	}
	if r, ok := s.find(s.b, spec.ID); ok {
		require.True(s, r.State.HoldsSlot() || r.State == backend.Failed, "neither there nor gone: %s", describe(r))
	}
	require.NoError(s, s.b.Remove(s.ctx(), spec.ID), "when both have returned")
	s.gone(s.b, spec.ID)
	s.dead(spec.ID)
}
