package controlplanetest

import (
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/provisioner"
)

var announcing = []promise{
	{name: "announce/before the launch", why: "a runner that was announced must be one that may be launched", check: announceOnce},
	{name: "announce/twice", why: "a retry after a lost answer must not spoil what the first one told", check: announceTwice},
}

func announceOnce(s *suite) {
	announcer := able[provisioner.Announcer](s)
	for _, r := range s.mint(s.requests(s.demand(2)...)) {
		require.NoError(s, announcer.Announce(s.ctx(), s.ref(r)))
	}
}

func announceTwice(s *suite) {
	announcer := able[provisioner.Announcer](s)
	registrations := s.mint(s.requests(s.demand(1)...))
	require.Len(s, registrations, 1)
	runner := registrations[0]
	require.NoError(s, announcer.Announce(s.ctx(), s.ref(runner)))
	if err := announcer.Announce(s.ctx(), s.ref(runner)); err != nil {
		s.Logf("the second one: %v", err)
		require.NotErrorIs(s, err, provisioner.ErrUnauthorized)
	}
	for _, state := range []provisioner.EventState{provisioner.EventStarting, provisioner.EventRunning} {
		require.NoError(s, s.c.Report(s.ctx(), []provisioner.Event{s.event(runner, state)}))
	}
	s.notUnwanted(runner)
	if starter, ok := s.harness.(Starter); ok {
		require.True(s, starter.Start(s.T, runner).Take(s.T))
	}
}

// notUnwanted fails when the control plane asks for the runner's end.
func (s *suite) notUnwanted(r provisioner.Registration) {
	s.Helper()
	for _, fact := range s.told(r) {
		require.False(s, fact.Runner == r.Runner && fact.Unwanted, "its end is asked for: %s", fact.Reason)
	}
}
