package controlplanetest

import (
	"fmt"
	"maps"
	"strings"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/provisioner"
)

var minting = []promise{
	{name: "mint/one for each", why: "one registration starts one runner, ever: two that share one are one runner too few, and one that is refused", check: mintDistinct},
	{name: "mint/no more than granted", why: "runners beyond the grant find no job and cost what a job costs", kind: granting, check: mintBounded},
	{name: "mint/unknown reservation", why: "a reservation that has ended is everyday: its runners are not launched, and nothing else stops", kind: granting, check: mintUnknown},
	{name: "mint/secrets stay in the environment", why: "labels are shown by every engine to everyone who may look, and texts end in logs", check: mintSecret},
	{name: "mint/warm", why: "a control plane without warm runners says so, and the loop ignores the floors of templates", kind: granting, check: mintWarm},
	{name: "mint/starts a runner", why: "a registration that no runner can use fails each job behind it", check: mintUsable},
}

func mintDistinct(s *suite) {
	registrations := s.mint(s.requests(s.demand(3), 3))
	require.Len(s, registrations, 3, "a fresh grant is worth its count")
	for i, a := range registrations {
		require.True(s, len(a.Env) > 0 || len(a.Command) > 0, "it says nothing that a runner could start with")
		for _, b := range registrations[:i] {
			require.False(s, maps.Equal(a.Env, b.Env) && fmt.Sprint(a.Command) == fmt.Sprint(b.Command), "%s and %s share one", a.Runner, b.Runner)
		}
	}
}

func mintBounded(s *suite) {
	reservation := s.demand(2)
	n := len(s.mint(s.requests(reservation, 3)))
	require.LessOrEqual(s, n, 2)
	n += len(s.mint(s.requests(reservation, 2)))
	n += len(s.mint(s.requests(reservation, 2)))
	require.LessOrEqual(s, n, 2, "in all")
}

func mintUnknown(s *suite) {
	require.Empty(s, s.mint(s.requests(uuid.NewString(), 2)))
	require.Len(s, s.mint(s.requests(s.demand(1), 1)), 1, "the next one is served")
}

func mintSecret(s *suite) {
	registrations := s.mint(s.requests(s.demand(2), 2))
	require.Len(s, registrations, 2)
	for i, r := range registrations {
		told := fmt.Sprintf("%v %+v %#v %s %q", r, r, r, r, r)
		for key, value := range r.Labels {
			require.Regexp(s, `^[a-z0-9._-]{1,64}$`, key, "a key that no backend has to keep")
			told += " " + value
		}
		for _, secret := range secrets(r, registrations[1-i]) {
			require.NotContains(s, told, secret)
		}
	}
}

// secrets guesses: what stands in one runner's environment alone, and is no id.
func secrets(r, other provisioner.Registration) []string {
	var found []string
	for name, value := range r.Env {
		_, err := uuid.Parse(value)
		if value != other.Env[name] && err != nil && !strings.Contains(value, r.Runner) {
			found = append(found, value)
		}
	}
	return found
}

func mintWarm(s *suite) {
	requests := s.requests("", 2)
	registrations, err := s.c.Mint(s.ctx(), requests)
	if isUnsupported(err) {
		require.Empty(s, registrations)
		return
	}
	require.NoError(s, err)
	require.Len(s, registrations, 2)
	require.False(s, maps.Equal(registrations[0].Env, registrations[1].Env), "both share one")
	s.harness.Enqueue(s.T, small, 1)
	starter := need[Starter](s)
	s.announce(ref("", registrations[0]))
	require.NoError(s, s.c.Report(s.ctx(), []provisioner.Event{event("", registrations[0], provisioner.EventRunning)}))
	runner := starter.Start(s.T, registrations[0])
	s.eventually("a warm runner gets the job that comes", s.patience, func() bool {
		s.poll(advert(0)) // who hands out work may do so when it is asked
		return runner.Take(s.T)
	})
}

func mintUsable(s *suite) {
	starter := need[Starter](s)
	for _, r := range s.registered(2) {
		require.True(s, starter.Start(s.T, r).Take(s.T), "one job waits for each")
	}
}
