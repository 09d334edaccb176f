package controlplanetest

import (
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/provisioner"
)

var living = []promise{
	{name: "life/as long as told", why: "the loop mints until the told life is over: jobs that go to others before get two runners", kind: granting, check: lifeKept},
	{name: "life/no longer than told", why: "after its life a grant's jobs are others': a runner minted then takes one away, and one that stays with the grant is lost", kind: granting, check: lifeOver},
	{name: "life/of a job that runs", why: "jobs take longer than grants live: one that is granted again runs twice", kind: granting, check: lifeBusy},
	{name: "life/after a restart", why: "a loop that dies between poll and mint takes its grants along, and their jobs are lost unless they come back", kind: granting, check: lifeRestarted},
	{name: "life/none asked for", why: "0 leaves the life to the control plane: a grant that is over at once starts nothing, ever", kind: granting, check: lifeDefault},
}

const (
	// short is the life that is asked for where its end is looked at.
	short = time.Second
	// longest is what the suite waits for the end of a life, where the harness is
	// no Ager.
	longest = 8 * time.Second
)

// timed is the grant of one job, and when its life began: after asked and before got.
type timed struct {
	provisioner.Grant
	asked, got time.Time
}

// fifths is a part of the life. A fifth is what the suite leaves to clocks, which may
// tell whole seconds.
func (g timed) fifths(n time.Duration) time.Duration { return g.Lifetime / 5 * n }

// timed makes one job of small, and polls until it is granted: for a short while,
// unless the harness can age it.
func (s *suite) timed() (g timed) {
	s.Helper()
	s.harness.Enqueue(s.T, small, 1)
	ad := advert(brief)
	if !s.ages() {
		ad.ReservationLifetime = short
	}
	s.eventually("the job is granted", s.patience, func() bool {
		g.asked = s.now()
		grants := s.poll(ad).Grants
		g.got = s.now()
		if len(grants) > 0 {
			g.Grant = grants[0]
		}
		return len(grants) > 0
	})
	return g
}

// ages says whether the harness is an Ager.
func (s *suite) ages() bool {
	_, ok := s.harness.(Ager)
	return ok
}

// ends skips the subtest when the end of the life is unknown or too far away.
func (s *suite) ends(g timed) {
	s.Helper()
	if g.Lifetime == 0 {
		s.Skip("it does not tell how long a grant lives")
	}
	if !s.ages() && g.Lifetime > longest {
		s.Skipf("a grant lives %v, and the harness is no Ager", g.Lifetime)
	}
}

// now is the time for the control plane.
func (s *suite) now() time.Time { return time.Now().Add(s.aged) }

// until waits for the moment.
func (s *suite) until(moment time.Time) {
	d := moment.Sub(s.now())
	if d <= 0 {
		return
	}
	if ager, ok := s.harness.(Ager); ok {
		ager.Age(s.T, d)
		s.aged += d
		return
	}
	pause(s.Context(), d)
}

func lifeKept(s *suite) {
	g := s.timed()
	if g.Lifetime == 0 {
		s.Skip("it does not tell how long a grant lives")
	}
	end := g.asked.Add(g.fifths(4))
	look := g.asked.Add(g.fifths(3))
	if !s.ages() { // one that keeps the asked life, whatever it tells, is over by then
		look = g.asked.Add(min(g.fifths(3), 2*short))
	}
	for again := true; again; {
		again = s.now().Before(look)
		if len(s.poll(advert(0)).Grants) > 0 {
			require.False(s, s.now().Before(end), "its job is granted again after %v of %v", s.now().Sub(g.asked), g.Lifetime)
			return // this machine was too slow to see it in time
		}
		if s.ages() {
			s.until(look)
		} else {
			pause(s.Context(), brief/6)
		}
	}
	made := s.mint(s.requests(g.Reservation))
	if s.now().Before(end) {
		require.Len(s, made, 1, "nothing is minted after %v of %v", s.now().Sub(g.asked), g.Lifetime)
	}
}

func lifeOver(s *suite) {
	g := s.timed()
	s.ends(g)
	s.until(g.got.Add(g.fifths(6)))
	require.Empty(s, s.mint(s.requests(g.Reservation)), "its life of %v is over", g.Lifetime)
	again := s.granted(1)
	require.Empty(s, s.mint(s.requests(g.Reservation)), "its job is granted anew")
	require.Len(s, s.mint(s.requests(units(again)...)), 1, "the new grant is worth a runner")
}

// A runner that has begun before the life is over, and ends after it.
func lifeBusy(s *suite) {
	starter := need[Starter](s)
	g := s.timed()
	s.ends(g)
	registrations := s.mint(s.requests(g.Reservation))
	if len(registrations) == 0 || s.now().After(g.asked.Add(g.fifths(2))) {
		s.Skipf("this machine is too slow for a life of %v", g.Lifetime)
	}
	r := registrations[0]
	s.announce(r)
	require.NoError(s, s.c.Report(s.ctx(), []provisioner.Event{s.event(r, provisioner.EventRunning)}))
	require.True(s, starter.Start(s.T, r).Take(s.T), "its job waits for it")
	s.until(g.got.Add(g.fifths(6)))
	require.Empty(s, s.poll(advert(0)).Grants, "its job is granted again while it runs")
	require.NoError(s, s.c.Report(s.ctx(), []provisioner.Event{s.event(r, provisioner.EventStopped)}))
	require.Empty(s, s.poll(advert(0)).Grants, "its job is granted again though it has run")
}

func lifeRestarted(s *suite) {
	g := s.timed()
	if g.Lifetime == 0 {
		g.Lifetime = s.traits.LostGrant
	}
	if g.Lifetime > 0 {
		s.ends(g)
	}
	s.reopen()
	s.until(g.got.Add(g.Lifetime))
	require.Len(s, s.mint(s.requests(units(s.granted(1))...)), 1, "the new grant is worth a runner")
}

func lifeDefault(s *suite) {
	s.harness.Enqueue(s.T, small, 1)
	ad := advert(s.patience)
	ad.ReservationLifetime = 0
	grants := s.poll(ad).Grants
	require.NotEmpty(s, grants, "a job waits")
	require.Len(s, s.mint(s.requests(grants[0].Reservation)), 1, "a fresh grant is worth its count")
}
