package controlplanetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/template"
)

var (
	small = []string{"linux", "x64"}
	large = []string{"arm64", "linux"}
)

// grace is what "soon after ctx ends" means at most; a shorter patience makes
// it shorter.
const grace = 10 * time.Second

// suite is the state of one subtest.
type suite struct {
	*testing.T
	harness  Harness
	traits   Traits
	patience time.Duration
	c        provisioner.ControlPlane
	aged     time.Duration                      // by the harness, beside what has gone by
	given    map[string]bool                    // reservations that were granted
	minted   map[string]provisioner.MintRequest // what each runner's labels hold, by its id
}

func newSuite(t *testing.T, h Harness) *suite {
	s := &suite{T: t, harness: h, traits: h.Traits(), given: map[string]bool{}, minted: map[string]provisioner.MintRequest{}}
	s.patience = s.traits.Patience
	if s.patience == 0 {
		s.patience = 30 * time.Second
	}
	s.c = h.Open(t)
	t.Cleanup(func() { s.close() })
	return s
}

// close gives the session back, where there is one.
func (s *suite) close() {
	closer, ok := s.c.(provisioner.Closer)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.Context()), s.patience)
	defer cancel()
	if err := closer.Close(ctx); err != nil {
		s.Errorf("close: %v", err)
	}
}

// reopen is what a restart of the provisioner does.
func (s *suite) reopen() {
	s.Helper()
	s.close()
	s.c = s.harness.Open(s.T)
}

// need returns the harness's ability A, or skips the subtest by its name.
func need[A any](s *suite) A {
	s.Helper()
	a, ok := s.harness.(A)
	if !ok {
		s.Skipf("the harness is no %s", strings.TrimPrefix(fmt.Sprintf("%T", (*A)(nil)), "*"))
	}
	return a
}

// able returns the control plane's ability A, or skips the subtest.
func able[A any](s *suite) A {
	s.Helper()
	a, ok := s.c.(A)
	if !ok {
		s.Skipf("the control plane is no %s", strings.TrimPrefix(fmt.Sprintf("%T", (*A)(nil)), "*"))
	}
	return a
}

// ctx is for one call.
func (s *suite) ctx() context.Context {
	ctx, cancel := context.WithTimeout(s.Context(), s.patience)
	s.Cleanup(cancel)
	return ctx
}

// brief is the wait of a poll that is expected to find nothing.
const brief = 300 * time.Millisecond

// advert offers the suite's templates.
func advert(wait time.Duration) provisioner.Advertisement {
	return provisioner.Advertisement{
		Wait: wait, MaxReservations: 100, ReservationLifetime: time.Minute, Templates: Templates(),
	}
}

// poll polls once, and checks what holds for every answer.
func (s *suite) poll(ad provisioner.Advertisement) provisioner.Demand {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), ad.Wait+s.patience)
	defer cancel()
	demand, err := s.c.Poll(ctx, ad)
	require.NoError(s, err, "poll")
	s.check(ad, demand)
	return demand
}

// check holds an answer against what it answers.
func (s *suite) check(ad provisioner.Advertisement, demand provisioner.Demand) {
	s.Helper()
	for _, g := range demand.Grants {
		require.NotEmpty(s, g.Reservation, "a grant without an id can't be minted for: %+v", g)
		require.False(s, s.given[g.Reservation], "a grant is an edge, and reservation %s was given twice", g.Reservation)
		s.given[g.Reservation] = true
		require.Positive(s, g.Count, "a grant of nothing: %+v", g)
		require.GreaterOrEqual(s, g.Lifetime, time.Duration(0))
		canonical, err := template.Canonical(g.Labels)
		require.NoError(s, err)
		require.Equal(s, canonical, g.Labels, "labels are canonical")
		require.True(s, slices.ContainsFunc(ad.Templates, func(t provisioner.Slots) bool { return template.Covers(t.Labels, g.Labels) }),
			"no advertised template covers %v", g.Labels)
	}
	require.LessOrEqual(s, sum(demand.Grants), ad.Free(), "more was granted than slots were free")
	require.LessOrEqual(s, sum(demand.Grants), ad.MaxReservations, "more was granted than one answer may ask for")
	levels := map[string]bool{}
	for _, target := range demand.Targets {
		require.False(s, levels[target.Template], "two targets of %s in one answer", target.Template)
		levels[target.Template] = true
		require.GreaterOrEqual(s, target.Count, 0, "%+v", target)
		require.False(s, target.ReadAt.After(time.Now()), "a level of the future: what ended before it would count for ever: %+v", target)
		require.True(s, slices.ContainsFunc(ad.Templates, func(t provisioner.Slots) bool { return t.Template == target.Template }),
			"a target for %q, which was not advertised", target.Template)
	}
	for _, fact := range demand.Facts {
		require.NotEmpty(s, fact.Runner, "a fact about nobody: %+v", fact)
	}
	for _, stat := range demand.Stats {
		require.True(s, stat.Queued >= 0 && stat.Reserved >= 0 && stat.Oldest >= 0, "%+v", stat)
	}
}

func sum(grants []provisioner.Grant) int {
	n := 0
	for _, g := range grants {
		n += g.Count
	}
	return n
}

// granted polls until n jobs are granted in all.
func (s *suite) granted(n int) []provisioner.Grant {
	s.Helper()
	var grants []provisioner.Grant
	s.eventually(fmt.Sprintf("%d jobs are granted", n), s.patience+s.traits.LostGrant, func() bool {
		grants = append(grants, s.poll(advert(brief)).Grants...)
		return sum(grants) >= n
	})
	require.Equal(s, n, sum(grants), "more was granted than jobs wait: %+v", grants)
	return grants
}

// wanted polls until the level of the template key is n.
func (s *suite) wanted(key string, n int) {
	s.Helper()
	last := -1
	s.eventually(fmt.Sprintf("the target of %s is %d", key, n), s.patience, func() bool {
		for _, target := range s.poll(advert(brief)).Targets {
			if target.Template == key {
				last = target.Count
			}
		}
		return last == n
	}, func() string { return fmt.Sprintf("last told: %d", last) })
}

// eventually asks until the answer is yes, and gives up after d.
func (s *suite) eventually(what string, d time.Duration, holds func() bool, last ...func() string) {
	s.Helper()
	deadline := time.Now().Add(d)
	for !holds() {
		if time.Now().After(deadline) {
			text := ""
			for _, tell := range last {
				text += "\n" + tell()
			}
			require.FailNowf(s, "waited in vain", "for %v, until %s%s", d, what, text)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-s.Context().Done():
		}
	}
}

// soon calls f with a ctx that ends after d, and fails when f does not return
// soon after that.
func (s *suite) soon(what string, d time.Duration, f func(context.Context) error) error {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), d)
	defer cancel()
	answer := make(chan error, 1)
	go func() { answer <- f(ctx) }()
	select {
	case err := <-answer:
		return err
	case <-time.After(d + min(grace, s.patience)):
		require.FailNowf(s, "a call outlives its context", "%s still waits though its ctx has ended", what)
		return nil
	}
}

// id makes a runner's id, as the loop does.
func (s *suite) id() string {
	s.Helper()
	id, err := uuid.NewV7()
	require.NoError(s, err)
	return id.String()
}

// requests asks for a runner of small for each reservation.
func (s *suite) requests(reservations ...string) []provisioner.MintRequest {
	s.Helper()
	var requests []provisioner.MintRequest
	for _, reservation := range reservations {
		requests = append(requests, provisioner.MintRequest{Runner: s.id(), Template: "small", Reservation: reservation, Labels: small})
	}
	return requests
}

// mint mints, one reservation after the other, and checks what holds for every
// answer.
func (s *suite) mint(requests []provisioner.MintRequest) (registrations []provisioner.Registration) {
	s.Helper()
	for len(requests) > 0 {
		next := slices.IndexFunc(requests, func(q provisioner.MintRequest) bool { return q.Reservation != requests[0].Reservation })
		if next < 0 {
			next = len(requests)
		}
		made, err := s.c.Mint(s.ctx(), requests[:next])
		require.NoError(s, err, "mint")
		s.checkMinted(requests[:next], made)
		registrations, requests = append(registrations, made...), requests[next:]
	}
	return registrations
}

// ours are the labels in which the loop finds a runner's template and grant again.
var ours = []string{
	provisioner.LabelTemplate, provisioner.LabelLabels, provisioner.LabelReservation,
	provisioner.LabelRegistrationDeadline, provisioner.LabelMaxLifetime,
}

// checkMinted holds an answer against the batch that it answers.
func (s *suite) checkMinted(batch []provisioner.MintRequest, made []provisioner.Registration) {
	s.Helper()
	for _, r := range made {
		at := slices.IndexFunc(batch, func(q provisioner.MintRequest) bool { return q.Runner == r.Runner })
		require.GreaterOrEqual(s, at, 0, "a registration for %q, which was not asked for", r.Runner)
		require.NotContains(s, s.minted, r.Runner, "two registrations for one runner")
		s.minted[r.Runner] = batch[at]
		for _, key := range ours {
			require.NotContains(s, r.Labels, key, "a label of the loop's own")
		}
		require.GreaterOrEqual(s, r.Lifetime, time.Duration(0))
	}
}

// demand makes n jobs for small, and returns the reservation to mint each of
// their runners for: empty where there are targets.
func (s *suite) demand(n int) []string {
	s.Helper()
	s.harness.Enqueue(s.T, small, n)
	if s.traits.Targets {
		s.wanted("small", n)
		return make([]string, n)
	}
	return units(s.granted(n))
}

// units is the reservation of each job that was granted.
func units(grants []provisioner.Grant) (reservations []string) {
	for _, g := range grants {
		reservations = append(reservations, slices.Repeat([]string{g.Reservation}, g.Count)...)
	}
	return reservations
}

// registered makes n jobs and mints a runner for each. All are announced and
// reported, as the loop does it.
func (s *suite) registered(n int) []provisioner.Registration {
	s.Helper()
	registrations := s.mint(s.requests(s.demand(n)...))
	require.Len(s, registrations, n, "a fresh grant is worth its count")
	for _, r := range registrations {
		s.announce(r)
		require.NoError(s, s.c.Report(s.ctx(), []provisioner.Event{s.event(r, provisioner.EventStarting)}))
		require.NoError(s, s.c.Report(s.ctx(), []provisioner.Event{s.event(r, provisioner.EventRunning)}))
	}
	return registrations
}

func (s *suite) announce(r provisioner.Registration) {
	s.Helper()
	if a, ok := s.c.(provisioner.Announcer); ok {
		require.NoError(s, a.Announce(s.ctx(), s.ref(r)), "announce")
	}
}

// ref names a runner with the labels that the loop would have given it.
func (s *suite) ref(r provisioner.Registration) provisioner.Ref {
	request, ok := s.minted[r.Runner]
	if !ok {
		request = provisioner.MintRequest{Template: "small", Labels: small}
	}
	labels := map[string]string{
		provisioner.LabelTemplate: request.Template,
		provisioner.LabelLabels:   strings.Join(request.Labels, ","),
	}
	if request.Reservation != "" {
		labels[provisioner.LabelReservation] = request.Reservation
	}
	maps.Copy(labels, r.Labels)
	return provisioner.Ref{ID: r.Runner, Labels: labels}
}

func (s *suite) refs(registrations ...provisioner.Registration) []provisioner.Ref {
	var all []provisioner.Ref
	for _, r := range registrations {
		all = append(all, s.ref(r))
	}
	return all
}

func (s *suite) event(r provisioner.Registration, state provisioner.EventState) provisioner.Event {
	runner := s.ref(r)
	return provisioner.Event{Runner: runner.ID, Labels: runner.Labels, State: state, At: time.Now()}
}

// stranger names a runner that the control plane has never heard of.
func (s *suite) stranger() provisioner.Registration {
	s.Helper()
	return provisioner.Registration{Runner: s.id()}
}

// isUnsupported says that the ability is missing.
func isUnsupported(err error) bool { return errors.Is(err, errors.ErrUnsupported) }
