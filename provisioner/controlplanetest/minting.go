package controlplanetest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/provisioner"
)

var minting = []promise{
	{name: "mint/one for each", why: "one registration starts one runner, ever: two that share one are one runner too few, and one that is refused", check: mintDistinct},
	{name: "mint/no more than granted", why: "runners beyond the grant find no job and cost what a job costs", kind: granting, check: mintBounded},
	{name: "mint/its own reservation", why: "a runner minted from another's grant takes its job, for which there is no slot or another runner", kind: granting, check: mintOwn},
	{name: "mint/unknown reservation", why: "a reservation that has ended is everyday: its runners are not launched, and nothing else stops", kind: granting, check: mintUnknown},
	{name: "mint/secrets stay in the environment", why: "labels are shown by every engine to everyone who may look, and texts end in logs", check: mintSecret},
	{name: "mint/warm", why: "a control plane without warm runners says so, and the loop ignores the floors of templates", kind: granting, check: mintWarm},
	{name: "mint/starts a runner", why: "a registration that no runner can use fails each job behind it", check: mintUsable},
}

func mintDistinct(s *suite) {
	registrations := s.mint(s.requests(s.demand(3)...))
	require.Len(s, registrations, 3, "a fresh grant is worth its count")
	for i, a := range registrations {
		require.True(s, len(a.Env) > 0 || len(a.Command) > 0, "it says nothing that a runner could start with")
		for _, b := range registrations[:i] {
			require.False(s, maps.Equal(a.Env, b.Env) && fmt.Sprint(a.Command) == fmt.Sprint(b.Command), "%s and %s share one", a.Runner, b.Runner)
		}
	}
}

func mintBounded(s *suite) {
	units := s.demand(2)
	n := len(s.mint(s.requests(append(units, units[0])...)))
	require.LessOrEqual(s, n, 2)
	n += len(s.mint(s.requests(units...)))
	n += len(s.mint(s.requests(units...)))
	require.LessOrEqual(s, n, 2, "in all")
}

func mintOwn(s *suite) {
	for _, labels := range [][]string{small, large, {"x64"}} {
		s.harness.Enqueue(s.T, labels, 1)
	}
	grants := s.granted(3)
	slices.Reverse(grants) // not the one that comes to hand first
	for _, g := range grants {
		requests := s.requests(g.Reservation, g.Reservation)
		if slices.Equal(g.Labels, large) {
			for i := range requests {
				requests[i].Template, requests[i].Labels = "large", large
			}
		}
		registrations := s.mint(requests)
		require.Len(s, registrations, 1, "one job is granted by %s, and one by each of two others", g.Reservation)
		if s.traits.OneTry {
			continue
		}
		s.announce(registrations[0])
		s.failed(registrations[0])
		require.Equal(s, g.Labels, s.granted(1)[0].Labels, "the job that waits again is not the runner's")
	}
}

func mintUnknown(s *suite) {
	unknown := uuid.NewString()
	require.Empty(s, s.mint(s.requests(unknown, unknown)))
	require.Len(s, s.mint(s.requests(s.demand(1)...)), 1, "the next one is served")
}

func mintSecret(s *suite) {
	registrations := s.mint(s.requests(s.demand(2)...))
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
	requests := s.requests("", "")
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
	s.announce(registrations[0])
	require.NoError(s, s.c.Report(s.ctx(), []provisioner.Event{s.event(registrations[0], provisioner.EventRunning)}))
	runner := starter.Start(s.T, registrations[0])
	s.eventually("a warm runner gets the job that comes", s.patience, func() bool {
		s.poll(advert(0)) // who hands out work may do so when it is asked
		return runner.Take(s.T)
	})
}

func mintUsable(s *suite) {
	starter := need[Starter](s)
	registrations := s.registered(2)
	require.True(s, starter.Start(s.T, registrations[0]).Take(s.T), "one job waits for each")
	s.reopen()
	require.True(s, starter.Start(s.T, registrations[1]).Take(s.T), "one job waits for each, the loop's restart between")
}
