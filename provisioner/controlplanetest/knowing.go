package controlplanetest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/provisioner"
)

var knowing = []promise{
	{name: "facts/of nobody", why: "a loop without runners asks too", check: factsNobody},
	{name: "facts/unknown runner", why: "unknown is unknown: a runner that nobody knows of may have a job", check: factsUnknown},
	{name: "facts/any order", why: "the loop asks about all, in the order in which it holds them", check: factsOrder},
	{name: "facts/registered and busy", why: "deadlines and scale-down end who is known to be idle, and spare who is busy", check: factsBusy},
	{name: "terminate/told", why: "a cancelled job's runner works on for nothing until its end is asked for", check: terminateTold},
}

// facts asks, and checks what holds for every answer.
func (s *suite) facts(runners []provisioner.Ref) map[string]provisioner.Fact {
	s.Helper()
	told, err := able[provisioner.Knower](s).Facts(s.ctx(), runners)
	require.NoError(s, err, "facts")
	facts := map[string]provisioner.Fact{}
	for _, fact := range told {
		require.True(s, slices.ContainsFunc(runners, func(r provisioner.Ref) bool { return r.ID == fact.Runner }),
			"a fact about %q, who was not asked for", fact.Runner)
		require.NotContains(s, facts, fact.Runner, "two facts about one runner")
		facts[fact.Runner] = fact
	}
	return facts
}

func factsNobody(s *suite) {
	require.Empty(s, s.facts(nil))
}

func factsUnknown(s *suite) {
	for _, fact := range s.facts(s.refs(s.stranger(), s.stranger())) {
		require.NotEqual(s, provisioner.Yes, fact.Registered)
		require.NotEqual(s, provisioner.Yes, fact.Busy)
		require.False(s, fact.Unwanted, "nobody may ask for the end of whom he does not know")
	}
}

func factsOrder(s *suite) {
	able[provisioner.Knower](s)
	registrations := append(s.registered(3), s.stranger())
	forth := s.facts(s.refs(registrations...))
	slices.Reverse(registrations)
	require.Equal(s, forth, s.facts(s.refs(registrations...)))
}

func factsBusy(s *suite) {
	able[provisioner.Knower](s)
	starter := need[Starter](s)
	registrations := s.registered(2)
	runners := s.refs(registrations...)
	for _, fact := range s.facts(runners) {
		require.NotEqual(s, provisioner.Yes, fact.Registered, "none has introduced itself")
	}
	busy, waiting := registrations[0].Runner, registrations[1].Runner
	require.True(s, starter.Start(s.T, registrations[0]).Take(s.T))
	other := starter.Start(s.T, registrations[1])
	var facts map[string]provisioner.Fact
	s.eventually("both are known as registered and one as busy", s.patience, func() bool {
		facts = s.facts(runners)
		return facts[busy].Registered == provisioner.Yes && facts[busy].Busy == provisioner.Yes &&
			(s.traits.OneStep || facts[waiting].Registered == provisioner.Yes)
	}, func() string { return fmt.Sprintf("%+v", facts) })
	require.NotEqual(s, provisioner.Yes, facts[waiting].Busy, "it has asked for no job")
	require.False(s, facts[busy].Unwanted || facts[waiting].Unwanted)
	require.True(s, other.Take(s.T))
	s.eventually("both are known as busy", s.patience, func() bool {
		facts = s.facts(runners)
		return facts[busy].Busy == provisioner.Yes && facts[waiting].Busy == provisioner.Yes
	}, func() string { return fmt.Sprintf("%+v", facts) })
}

func terminateTold(s *suite) {
	starter, canceller := need[Starter](s), need[Canceller](s)
	registrations := s.registered(2)
	gone, stays := registrations[0], registrations[1]
	require.True(s, starter.Start(s.T, gone).Take(s.T))
	require.True(s, starter.Start(s.T, stays).Take(s.T))
	canceller.Cancel(s.T, gone.Runner)
	for _, again := range []func(){func() {}, func() {}, s.reopen} { // it stays so, for the loop after a restart too
		again()
		s.eventually("the runner's end is asked for, in a poll or when facts are asked", s.patience, func() bool {
			for _, fact := range s.told(registrations...) {
				require.False(s, fact.Runner == stays.Runner && fact.Unwanted, "the other one's end is asked for")
				if fact.Runner == gone.Runner && fact.Unwanted {
					require.NotEmpty(s, strings.TrimSpace(fact.Reason), "people are told why")
					return true
				}
			}
			return false
		})
	}
}

// told is all that the control plane says of the runners.
func (s *suite) told(registrations ...provisioner.Registration) []provisioner.Fact {
	s.Helper()
	facts := s.poll(advert(0)).Facts
	if knower, ok := s.c.(provisioner.Knower); ok {
		asked, err := knower.Facts(s.ctx(), s.refs(registrations...))
		require.NoError(s, err)
		facts = append(facts, asked...)
	}
	return facts
}
