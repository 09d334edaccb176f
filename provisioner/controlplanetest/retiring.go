package controlplanetest

import (
	"slices"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/provisioner"
)

var retiring = []promise{
	{name: "retire/unknown", why: "an unknown runner may have a job: it is not to be removed", check: retireUnknown},
	{name: "retire/busy", why: "retired ones are removed: a busy one among them is a job killed", check: retireBusy},
	{name: "retire/idle", why: "between retiring and removal a job must not come, or it is killed with the runner", check: retireIdle},
}

// retire asks, and checks what holds for every answer.
func (s *suite) retire(registrations ...provisioner.Registration) []string {
	s.Helper()
	runners := s.refs(registrations...)
	retired, err := able[provisioner.Retirer](s).Retire(s.ctx(), runners)
	require.NoError(s, err, "retire")
	for _, id := range retired {
		require.True(s, slices.ContainsFunc(runners, func(r provisioner.Ref) bool { return r.ID == id }), "%q was not asked for", id)
	}
	return retired
}

func retireUnknown(s *suite) {
	require.Empty(s, s.retire(s.stranger(), s.stranger()))
	require.Empty(s, s.retire())
}

func retireBusy(s *suite) {
	able[provisioner.Retirer](s)
	starter := need[Starter](s)
	registrations := s.registered(1)
	require.True(s, starter.Start(s.T, registrations[0]).Take(s.T))
	require.Empty(s, s.retire(registrations[0]))
}

func retireIdle(s *suite) {
	able[provisioner.Retirer](s)
	starter := need[Starter](s)
	registrations := s.registered(2)
	idle, other := starter.Start(s.T, registrations[0]), starter.Start(s.T, registrations[1])
	retired := s.retire(registrations[0])
	if len(retired) == 0 {
		require.True(s, idle.Take(s.T), "one that is not retired can still get its job")
		return
	}
	require.False(s, idle.Take(s.T), "a retired runner got a job")
	require.True(s, other.Take(s.T), "the other one gets its job")
	s.harness.Enqueue(s.T, small, 1)
	require.False(s, idle.Take(s.T), "a retired runner got a job that came later")
}
