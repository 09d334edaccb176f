package controlplanetest

import (
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/provisioner"
)

var identifying = []promise{
	{name: "identify/stable", why: "the identity is the owner of every runner: one that changes disowns what runs", check: identifyStable},
	{name: "identify/credential refused", why: "the loop shows a refused credential to people and backs off; other errors it tries again at once", check: identifyRefused},
}

func identifyStable(s *suite) {
	first, err := s.c.Identify(s.ctx())
	require.NoError(s, err)
	require.Regexp(s, `^[ -~]{1,128}$`, first.ID, "an owner that no backend has to take")
	again, err := s.c.Identify(s.ctx())
	require.NoError(s, err)
	require.Equal(s, first, again)
	s.reopen()
	after, err := s.c.Identify(s.ctx())
	require.NoError(s, err)
	require.Equal(s, first, after, "after a restart")
}

func identifyRefused(s *suite) {
	c := need[Impostor](s).OpenRefused(s.T)
	_, err := c.Identify(s.ctx())
	require.ErrorIs(s, err, provisioner.ErrUnauthorized, "Identify")
	_, err = c.Poll(s.ctx(), advert(brief))
	require.ErrorIs(s, err, provisioner.ErrUnauthorized, "Poll")
	reservation := s.id()
	if s.traits.Targets {
		reservation = ""
	}
	_, err = c.Mint(s.ctx(), s.requests(reservation))
	require.ErrorIs(s, err, provisioner.ErrUnauthorized, "Mint")
	// A control plane that takes no reports has nothing to refuse.
	err = c.Report(s.ctx(), []provisioner.Event{s.event(s.stranger(), provisioner.EventRunning)})
	require.NotErrorIs(s, err, provisioner.ErrRejected, "the loop drops what is rejected, and these reports may be accepted later")
	if knower, ok := c.(provisioner.Knower); ok {
		_, err = knower.Facts(s.ctx(), s.refs(s.stranger()))
		require.ErrorIs(s, err, provisioner.ErrUnauthorized, "Facts")
	}
	if announcer, ok := c.(provisioner.Announcer); ok {
		require.ErrorIs(s, announcer.Announce(s.ctx(), s.ref(s.stranger())), provisioner.ErrUnauthorized, "Announce")
	}
	if retirer, ok := c.(provisioner.Retirer); ok {
		_, err = retirer.Retire(s.ctx(), s.refs(s.stranger()))
		require.ErrorIs(s, err, provisioner.ErrUnauthorized, "Retire")
	}
}
