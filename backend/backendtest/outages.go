package backendtest

import (
	"context"
	"errors"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
)

var outages = []promise{
	{"outage/list", "unknown is not empty: an empty listing of an engine that is gone would make the loop launch everything anew", outageList},
	{"outage/launch", "only a definite error lets the loop launch elsewhere; told for one that may have started, a job runs twice", outageLaunch},
	{"outage/remove", "gone when it returns: a nil for what could not be reached frees a slot that is taken", outageRemove},
	{"outage/in the middle of launches", "an engine that goes in the middle leaves each launch told right, uncertain, or definitely not made", outageMiddle},
	{"outage/nothing outlives its context", "one hanging engine must not hold up a worker for ever", outageHang},
}

// outage breaks the engine for the time of f.
func (s *suite) outage(breaker Breaker, f func()) {
	s.Helper()
	breaker.Break(s.T)
	mended := false
	mend := func() {
		if !mended {
			mended = true
			breaker.Mend(s.T)
		}
	}
	s.Cleanup(mend) // runs before clear, also when f fails
	f()
	mend()
	s.eventually("the engine answers again", func() bool {
		listing, err := s.b.List(s.ctx())
		if err != nil {
			return false
		}
		for _, r := range listing.Runners {
			if r.State == backend.Unknown {
				return false
			}
		}
		return true
	})
}

// blind checks that a listing during an outage claims to know nothing. A
// backend may take a moment to notice.
func (s *suite) blind(ids ...string) {
	s.Helper()
	var told []backend.Runner
	s.eventually("List errs, or tells every runner as unknown", func() bool {
		ctx, cancel := context.WithTimeout(s.Context(), s.patience)
		defer cancel()
		listing, err := s.b.List(ctx)
		told = listing.Runners
		if err != nil {
			return true
		}
		for _, id := range ids {
			r, ok := pick(listing, id)
			require.True(s, ok, "runner %s is left out without an error", id)
			if r.State != backend.Unknown {
				return false
			}
		}
		return true
	}, func() string { return describeAll(told) })
}

func describeAll(runners []backend.Runner) string {
	text := "last listing:"
	for _, r := range runners {
		text += " " + r.ID + " " + describe(r) + ";"
	}
	return text
}

func outageList(s *suite) {
	breaker := need[Breaker](s)
	ids := []string{s.running(), s.running()}
	s.outage(breaker, func() { s.blind(ids...) })
	for _, id := range ids {
		require.Equal(s, backend.Running, s.must(s.b, id).State, "it survived the outage")
		s.alive(id, 1)
	}
}

func outageLaunch(s *suite) {
	breaker := need[Breaker](s)
	spec := s.spec(s.harness.Runs())
	var err error
	s.outage(breaker, func() {
		err = s.soon("Launch", 10*time.Second, func(ctx context.Context) error { return s.b.Launch(ctx, spec) })
		require.Error(s, err)
		require.NotErrorIs(s, err, backend.ErrExists)
		require.NotErrorIs(s, err, backend.ErrInvalid, "an outage says nothing about the spec: the loop would never try it again")
		require.NotContains(s, err.Error(), canaryValue, "the environment in an error")
	})
	s.running() // what was under way has had its time
	if backend.IsDefinite(err) {
		s.gone(s.b, spec.ID)
	}
	s.launchAgain(spec, err)
}

// launchAgain launches what an earlier launch with that error may have made.
func (s *suite) launchAgain(spec backend.Spec, earlier error) {
	s.Helper()
	if err := s.b.Launch(s.ctx(), spec); err != nil {
		require.ErrorIs(s, err, backend.ErrExists, "after an earlier launch that answered: %v", earlier)
	}
	s.runs(spec.ID)
	s.alive(spec.ID, 1)
}

func outageRemove(s *suite) {
	breaker := need[Breaker](s)
	id := s.running()
	s.outage(breaker, func() {
		err := s.soon("Remove", 10*time.Second, func(ctx context.Context) error { return s.b.Remove(ctx, id) })
		require.Error(s, err, "it can't be known that the runner is gone")
	})
	require.NoError(s, s.b.Remove(s.ctx(), id))
	s.gone(s.b, id)
	s.dead(id)
}

func outageMiddle(s *suite) {
	breaker := need[Breaker](s)
	specs := make([]backend.Spec, crowd)
	for i := range specs {
		specs[i] = s.spec(s.harness.Runs())
	}
	started := make(chan struct{}, crowd)
	answers, done := make(chan []error, 1), make(chan struct{})
	s.Cleanup(func() { <-done })
	go func() {
		defer close(done)
		answers <- together(crowd, func(i int) error {
			ctx, cancel := context.WithTimeout(s.Context(), 10*time.Second)
			defer cancel()
			if i > 0 {
				<-started // the first launch has returned: the others are cut off
			} else {
				defer func() {
					for range crowd {
						started <- struct{}{}
					}
				}()
			}
			return s.b.Launch(ctx, specs[i])
		})
	}()
	var errs []error
	<-started
	s.outage(breaker, func() { errs = <-answers })
	s.running() // what was under way has had its time
	for i, err := range errs {
		_, ok := s.find(s.b, specs[i].ID)
		switch {
		case err == nil:
			require.True(s, ok, "launch %d was told as done, and its runner is not there", i)
		case backend.IsDefinite(err):
			require.False(s, ok, "launch %d was told as definitely not made (%v), and its runner is there", i, err)
		}
		require.False(s, errors.Is(err, backend.ErrExists), "nobody launched %d before", i)
		s.launchAgain(specs[i], err)
	}
}

func outageHang(s *suite) {
	hanger := need[Hanger](s)
	id := s.running()
	spec := s.spec(s.harness.Runs())
	hanger.Hang(s.T)
	hanging := true
	unhang := func() {
		if hanging {
			hanging = false
			hanger.Unhang(s.T)
		}
	}
	s.Cleanup(unhang)
	s.askAll(id, spec)
	unhang()
	s.eventually("the engine answers again", func() bool {
		_, err := s.b.List(s.ctx())
		return err == nil
	})
	require.NoError(s, s.b.Remove(s.ctx(), id))
	s.launchAgain(spec, context.DeadlineExceeded)
}

// askAll asks an engine that hangs for everything at once.
func (s *suite) askAll(id string, spec backend.Spec) {
	s.Helper()
	calls := []struct {
		name string
		do   func(context.Context) error
	}{
		{"Launch", func(ctx context.Context) error { return s.b.Launch(ctx, spec) }},
		{"Remove", func(ctx context.Context) error { return s.b.Remove(ctx, id) }},
		{"Capacity", func(ctx context.Context) error {
			_, err := backend.Capacity(ctx, s.b, []backend.Spec{s.harness.Runs()})
			return err
		}},
		{"Prepare", func(ctx context.Context) error { return backend.Prepare(ctx, s.b, s.harness.Runs()) }},
		{"Watch", func(ctx context.Context) error { return backend.Watch(ctx, s.b, func() {}) }},
	}
	const short = 200 * time.Millisecond
	errs := together(len(calls), func(i int) error { return s.bounded(short, calls[i].do) })
	for i, err := range errs {
		require.NotErrorIs(s, err, errOutlives, "%s still waits %v after its ctx has ended", calls[i].name, grace)
	}
	require.Error(s, errs[0], "Launch on an engine that hangs")
	s.eventually("List errs, or tells the runner as unknown", func() bool {
		var listing backend.Listing
		err := s.soon("List", short, func(ctx context.Context) (err error) {
			listing, err = s.b.List(ctx)
			return err
		})
		r, ok := pick(listing, id)
		return err != nil || !ok || r.State == backend.Unknown
	})
}
