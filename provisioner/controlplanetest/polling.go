package controlplanetest

import (
	"context"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/provisioner"
)

var polling = []promise{
	{name: "poll/nothing to do", why: "an empty queue is no error, and a poll that never ends delays the next one's advertisement", check: pollNothing},
	{name: "poll/demand that waits", why: "a job that waits already must not wait for the poll's time as well", check: pollWaiting},
	{name: "poll/wakes", why: "the time from job to runner is what users feel; a poll that sleeps on adds its whole wait", check: pollWakes},
	{name: "poll/no templates", why: "a template file may be empty for a while, and the loop polls on", check: pollBare},
	{name: "poll/no free slot", why: "a full provisioner polls to hear intents, and can start nothing", kind: granting, check: pollFull},
	{name: "poll/no reservations wanted", why: "MaxReservations bounds what one answer may ask for, nothing included", kind: granting, check: pollNone},
	{name: "poll/no more than free", why: "jobs granted beyond the slots wait for a reservation to end instead of another provisioner", kind: granting, check: pollFree},
	{name: "poll/no more than one answer may ask", why: "a flood in one answer breaks the loop's bound on work in hand", kind: granting, check: pollBound},
	{name: "poll/granted once", why: "a grant told twice starts two runners for one job", kind: granting, check: pollOnce},
	{name: "poll/labels covered", why: "a grant that no template covers holds its jobs and starts nothing", kind: granting, check: pollCovered},
	{name: "poll/a lost answer", why: "a job whose grant was lost on the way must be granted again, and once only", kind: granting, check: pollLost},
	{name: "poll/a runner that failed", why: "a job whose runner failed before it took the job still waits, whichever loop tells of it", kind: granting, check: pollFailed},
	{name: "poll/after a restart", why: "grants not yet used may be lost with the loop, their jobs may not", kind: granting, check: pollRestarted},
}

func pollNothing(s *suite) {
	began := time.Now()
	s.poll(advert(0))
	require.Less(s, time.Since(began), min(grace, s.patience/2), "it was asked for one look")
	began = time.Now()
	demand := s.poll(advert(brief))
	require.Less(s, time.Since(began), brief+grace, "the poll's wait was %v", brief)
	require.Empty(s, demand.Grants)
	for _, target := range demand.Targets {
		require.Zero(s, target.Count, "of an empty queue")
	}
}

func pollWaiting(s *suite) {
	s.harness.Enqueue(s.T, small, 2)
	began := time.Now()
	s.heard(2, s.poll(advert(s.patience)))
	require.Less(s, time.Since(began), s.patience*3/4, "the poll's wait was %v", s.patience)
}

// heard follows up on an answer until it has asked for n runners of small: a
// target may be told anew, a grant may come in two.
func (s *suite) heard(n int, demand provisioner.Demand) {
	s.Helper()
	if s.traits.Targets {
		if len(demand.Targets) == 0 || demand.Targets[0].Template != "small" || demand.Targets[0].Count != n {
			s.wanted("small", n)
		}
		return
	}
	if left := n - sum(demand.Grants); left > 0 {
		s.granted(left)
	}
}

func pollWakes(s *suite) {
	s.poll(advert(0)) // what a new session is told first
	type answer struct {
		demand provisioner.Demand
		err    error
		at     time.Time
	}
	answers := make(chan answer, 1)
	ctx, cancel := context.WithTimeout(s.Context(), 2*s.patience)
	defer cancel()
	ad := advert(s.patience)
	ask := func() {
		demand, err := s.c.Poll(ctx, ad)
		answers <- answer{demand, err, time.Now()}
	}
	go ask()
	early := time.After(300 * time.Millisecond)
	for waiting := true; waiting; {
		select {
		case a := <-answers: // one that does not wait is asked again
			require.NoError(s, a.err)
			require.Zero(s, sum(a.demand.Grants))
			go func() {
				<-time.After(20 * time.Millisecond)
				ask()
			}()
		case <-early:
			waiting = false
		}
	}
	s.harness.Enqueue(s.T, small, 1)
	enqueued := time.Now()
	a := <-answers
	require.NoError(s, a.err)
	s.check(ad, a.demand)
	s.heard(1, a.demand)
	require.Less(s, time.Since(enqueued), s.patience*3/4, "the poll's wait was %v", ad.Wait)
}

func pollBare(s *suite) {
	s.harness.Enqueue(s.T, small, 1)
	ad := advert(brief)
	ad.Templates = nil
	demand, err := s.c.Poll(s.ctx(), ad)
	require.NoError(s, err)
	require.Empty(s, demand.Grants)
	s.heard(1, provisioner.Demand{})
}

func pollFull(s *suite) {
	s.harness.Enqueue(s.T, small, 2)
	ad := advert(brief)
	for i := range ad.Templates {
		ad.Templates[i].Free, ad.Templates[i].Running = 0, 10
	}
	require.Empty(s, s.poll(ad).Grants)
	s.granted(2) // and they are granted when there is room
}

func pollNone(s *suite) {
	s.harness.Enqueue(s.T, small, 2)
	ad := advert(brief)
	ad.MaxReservations = 0
	require.Empty(s, s.poll(ad).Grants)
	s.granted(2)
}

func pollFree(s *suite) {
	s.harness.Enqueue(s.T, small, 5)
	s.harness.Enqueue(s.T, large, 1)
	ad := advert(s.patience)
	ad.Templates[0].Free, ad.Templates[1].Free = 2, 5
	grants := s.poll(ad).Grants
	require.NotEmpty(s, grants, "there is room for some of them")
	forSmall := 0
	for _, g := range grants {
		if g.Labels[0] == small[0] {
			forSmall += g.Count
		}
	}
	require.LessOrEqual(s, forSmall, 2, "free slots of another template are no use to these jobs: %+v", grants)
}

func pollBound(s *suite) {
	s.harness.Enqueue(s.T, small, 5)
	s.harness.Enqueue(s.T, large, 5)
	ad := advert(s.patience)
	ad.MaxReservations = 3
	require.NotEmpty(s, s.poll(ad).Grants) // check holds the sum against the bound
}

func pollOnce(s *suite) {
	s.harness.Enqueue(s.T, small, 2)
	s.granted(2)
	require.Empty(s, s.poll(advert(brief)).Grants, "the same jobs again, to an advertisement that knows nothing of them yet")
	s.harness.Enqueue(s.T, small, 3)
	s.granted(3)
	require.Empty(s, s.poll(advert(brief)).Grants)
}

func pollCovered(s *suite) {
	s.harness.Enqueue(s.T, []string{"windows", "x64"}, 2)
	s.harness.Enqueue(s.T, []string{"arm64", "linux", "x64"}, 1) // each template has a part of it
	require.Empty(s, s.poll(advert(brief)).Grants, "no template covers them")
	s.harness.Enqueue(s.T, []string{"linux"}, 1) // both cover it
	grants := s.granted(1)
	require.Equal(s, []string{"linux"}, grants[0].Labels)
}

// moments are when a context ends.
var moments = []time.Duration{0, time.Millisecond, 10 * time.Millisecond, 50 * time.Millisecond, 200 * time.Millisecond}

// held are grants that were received, by when they are over at the latest. One that
// nobody uses expires, and its jobs are rightly granted again: a slow machine sees that.
type held []struct {
	count int
	until time.Time
}

func (h *held) take(grants []provisioner.Grant) {
	for _, g := range grants {
		life := g.Lifetime
		if life == 0 { // it does not say
			life = time.Hour
		}
		// Counted from its receipt: for the control plane it is over a little sooner.
		*h = append(*h, struct {
			count int
			until time.Time
		}{g.Count, time.Now().Add(life - life/5)})
	}
}

// alive is how many jobs are granted now.
func (h held) alive() (n int) {
	for _, g := range h {
		if time.Now().Before(g.until) {
			n += g.count
		}
	}
	return n
}

func pollLost(s *suite) {
	var got held
	for _, d := range moments {
		s.harness.Enqueue(s.T, small, 1)
		var demand provisioner.Demand
		ad := advert(s.patience)
		err := s.soon("Poll", d, func(ctx context.Context) (err error) {
			demand, err = s.c.Poll(ctx, ad)
			return err
		})
		if err == nil {
			s.check(ad, demand)
			got.take(demand.Grants)
		}
	}
	s.eventually("all are granted at once", s.patience+2*s.traits.LostGrant, func() bool {
		if got.alive() < len(moments) {
			got.take(s.poll(advert(brief)).Grants)
		}
		require.LessOrEqual(s, got.alive(), len(moments), "each is granted once at a time")
		return got.alive() == len(moments)
	})
	got.take(s.poll(advert(brief)).Grants)
	require.LessOrEqual(s, got.alive(), len(moments), "each is granted once at a time")
}

func pollFailed(s *suite) {
	if s.traits.OneTry {
		s.Skip("a job has one try")
	}
	runner := s.one()
	require.NoError(s, s.c.Report(s.ctx(), []provisioner.Event{s.event(runner, provisioner.EventStarting)}))
	s.failed(runner)
	registrations := s.mint(s.requests(units(s.granted(1))...))
	require.Len(s, registrations, 1, "the new grant is worth a runner")
	s.announce(registrations[0])
	s.reopen()
	s.failed(registrations[0])
	s.granted(1)
}

// failed reports that the runner never started.
func (s *suite) failed(runner provisioner.Registration) {
	s.Helper()
	e := s.event(runner, provisioner.EventFailed)
	e.Reason = "image not found"
	require.NoError(s, s.c.Report(s.ctx(), []provisioner.Event{e}))
}

func pollRestarted(s *suite) {
	reserved := s.demand(2)
	require.Len(s, s.mint(s.requests(reserved[0])), 1)
	s.reopen()
	s.harness.Enqueue(s.T, large, 1)
	s.eventually("a restarted loop is granted new jobs", s.patience+s.traits.LostGrant, func() bool {
		for _, g := range s.poll(advert(brief)).Grants {
			if g.Labels[0] == large[0] {
				return true
			}
		}
		return false
	})
}

var targets = []promise{
	{name: "targets/count what waits", why: "the level is all that the loop has to go on", kind: targeting, check: targetsCount},
	{name: "targets/told to a new loop", why: "a level that was told to the loop before is unknown to the one after the restart", kind: targeting, check: targetsRestarted},
	{name: "targets/count busy ones", why: "busy runners count towards the target: left out, each job that starts takes another's runner away", kind: targeting, check: targetsBusy},
}

func targetsCount(s *suite) {
	s.harness.Enqueue(s.T, small, 2)
	s.wanted("small", 2)
	s.harness.Enqueue(s.T, small, 1)
	s.wanted("small", 3)
	s.harness.Enqueue(s.T, large, 1)
	s.wanted("large", 1)
}

func targetsRestarted(s *suite) {
	s.harness.Enqueue(s.T, small, 2)
	s.wanted("small", 2)
	s.reopen()
	s.wanted("small", 2)
}

func targetsBusy(s *suite) {
	starter := need[Starter](s)
	registrations := s.registered(2)
	require.True(s, starter.Start(s.T, registrations[0]).Take(s.T), "a job waits")
	s.harness.Enqueue(s.T, small, 1)
	s.wanted("small", 3)
}
