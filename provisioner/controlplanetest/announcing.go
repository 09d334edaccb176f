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
	reservation := s.demand(2)
	for _, r := range s.mint(s.requests(reservation, 2)) {
		require.NoError(s, announcer.Announce(s.ctx(), ref(reservation, r)))
	}
}

func announceTwice(s *suite) {
	announcer := able[provisioner.Announcer](s)
	reservation := s.demand(1)
	registrations := s.mint(s.requests(reservation, 1))
	require.Len(s, registrations, 1)
	runner := registrations[0]
	require.NoError(s, announcer.Announce(s.ctx(), ref(reservation, runner)))
	if err := announcer.Announce(s.ctx(), ref(reservation, runner)); err != nil {
		s.Logf("the second one: %v", err)
		require.NotErrorIs(s, err, provisioner.ErrUnauthorized)
	}
	for _, state := range []provisioner.EventState{provisioner.EventStarting, provisioner.EventRunning} {
		require.NoError(s, s.c.Report(s.ctx(), []provisioner.Event{event(reservation, runner, state)}))
	}
	s.notUnwanted(reservation, runner)
	if starter, ok := s.harness.(Starter); ok {
		require.True(s, starter.Start(s.T, runner).Take(s.T))
	}
}

// notUnwanted fails when the control plane asks for the runner's end.
func (s *suite) notUnwanted(reservation string, r provisioner.Registration) {
	s.Helper()
	facts := s.poll(advert(0)).Facts
	if knower, ok := s.c.(provisioner.Knower); ok {
		asked, err := knower.Facts(s.ctx(), refs(reservation, []provisioner.Registration{r}))
		require.NoError(s, err)
		facts = append(facts, asked...)
	}
	for _, fact := range facts {
		require.False(s, fact.Runner == r.Runner && fact.Unwanted, "its end is asked for: %s", fact.Reason)
	}
}
