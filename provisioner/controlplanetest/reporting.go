package controlplanetest

import (
	"errors"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/provisioner"
)

var reporting = []promise{
	{name: "report/a whole life", why: "each report that fails is sent again, for ever", check: reportLife},
	{name: "report/nothing", why: "an empty batch is no error", check: reportNothing},
	{name: "report/out of order", why: "reports overtake each other on the way, after outages above all", check: reportUnordered},
	{name: "report/unknown runner", why: "after a restart the loop reports what it finds, and must not be stopped by one that nobody knows", check: reportUnknown},
	{name: "report/a stranger among them", why: "a batch holds what became of all: one runner that nobody knows must not keep the others' ends back", check: reportAmong},
	{name: "report/many and long", why: "an outage leaves thousands of reports, and engines talk a lot", check: reportMany},
	{name: "report/the end is the end", why: "a late report that revives a runner holds a slot for ever", check: reportTerminal},
}

var wholeLife = []provisioner.EventState{
	provisioner.EventStarting, provisioner.EventRunning, provisioner.EventStopping, provisioner.EventStopped,
}

// one mints one runner for a new job.
func (s *suite) one() provisioner.Registration {
	s.Helper()
	registrations := s.mint(s.requests(s.demand(1)...))
	require.Len(s, registrations, 1, "a fresh grant is worth its count")
	s.announce(registrations[0])
	return registrations[0]
}

func reportLife(s *suite) {
	r := s.one()
	for _, state := range wholeLife {
		for range 2 { // the second is a keep-alive, or came after a lost answer
			require.NoError(s, s.c.Report(s.ctx(), []provisioner.Event{s.event(r, state)}), "%s", state)
		}
	}
	s.recorded(r, provisioner.EventStopped)
}

// recorded checks what the control plane has noted, where the harness can tell.
func (s *suite) recorded(r provisioner.Registration, want provisioner.EventState) {
	s.Helper()
	if recorder, ok := s.harness.(Recorder); ok {
		require.Equal(s, want, recorder.State(s.T, r.Runner))
	}
}

func reportNothing(s *suite) {
	require.NoError(s, s.c.Report(s.ctx(), nil))
}

func reportUnordered(s *suite) {
	r := s.one()
	var events []provisioner.Event
	for i := range wholeLife {
		events = append(events, s.event(r, wholeLife[len(wholeLife)-1-i]))
	}
	require.NoError(s, s.c.Report(s.ctx(), events))
	s.recorded(r, provisioner.EventStopped)
}

func reportUnknown(s *suite) {
	for _, state := range []provisioner.EventState{provisioner.EventRunning, provisioner.EventTerminated} {
		err := s.c.Report(s.ctx(), []provisioner.Event{s.event(s.stranger(), state)})
		require.True(s, err == nil || errors.Is(err, provisioner.ErrRejected), "accepted, or rejected for good: %v", err)
	}
	r := s.one()
	require.NoError(s, s.c.Report(s.ctx(), []provisioner.Event{s.event(r, provisioner.EventRunning)}), "the next one is accepted")
}

func reportAmong(s *suite) {
	r := s.one()
	end := s.event(r, provisioner.EventFailed)
	strange := func() provisioner.Event { return s.event(s.stranger(), provisioner.EventFailed) }
	err := s.c.Report(s.ctx(), []provisioner.Event{strange(), end, strange()})
	if errors.Is(err, provisioner.ErrRejected) { // the loop sends the halves of a batch that is
		err = s.c.Report(s.ctx(), []provisioner.Event{end})
	}
	require.NoError(s, err)
	s.recorded(r, provisioner.EventFailed)
	if !s.traits.Targets && !s.traits.OneTry {
		s.granted(1) // its job
	}
}

func reportMany(s *suite) {
	r := s.one()
	var events []provisioner.Event
	began := time.Now()
	for i := range 1500 {
		e := s.event(r, provisioner.EventRunning)
		e.At = began.Add(time.Duration(i) * time.Millisecond)
		events = append(events, e)
	}
	end := s.event(r, provisioner.EventFailed)
	end.Reason = strings.Repeat("pull: größe unknown: ", 200)
	end.At = began.Add(2 * time.Second)
	require.NoError(s, s.c.Report(s.ctx(), append(events, end)))
	s.recorded(r, provisioner.EventFailed)
}

func reportTerminal(s *suite) {
	r := s.one()
	late := s.event(r, provisioner.EventRunning)
	require.NoError(s, s.c.Report(s.ctx(), []provisioner.Event{s.event(r, provisioner.EventStopped)}))
	require.NoError(s, s.c.Report(s.ctx(), []provisioner.Event{late}))
	s.recorded(r, provisioner.EventStopped)
	if knower, ok := s.c.(provisioner.Knower); ok {
		facts, err := knower.Facts(s.ctx(), s.refs(r))
		require.NoError(s, err)
		for _, fact := range facts {
			require.False(s, fact.Runner == r.Runner && fact.Busy == provisioner.Yes, "it ended without a job")
		}
	}
}
