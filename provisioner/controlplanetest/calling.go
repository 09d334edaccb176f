package controlplanetest

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/provisioner"
)

var calling = []promise{
	{name: "calls/while a poll waits", why: "a poll waits half a minute: what waits for its end holds up every job, report and look as long", check: callsDuringPoll},
	{name: "calls/many at once", why: "workers do deeds for many runners at once: two that share a unit of a grant are one runner too many", check: callsAtOnce},
}

func callsDuringPoll(s *suite) {
	reserved := s.demand(2)
	s.keepPolling()
	call := func(what string, f func(context.Context) error) {
		s.Helper()
		began := time.Now()
		require.NoError(s, s.soon(what, s.patience, f), what)
		require.Less(s, time.Since(began), s.patience/2, "%s waits for the poll's end", what)
	}
	for _, reservation := range reserved {
		var made []provisioner.Registration
		requests := s.requests(reservation)
		call("Mint", func(ctx context.Context) (err error) { made, err = s.c.Mint(ctx, requests); return err })
		require.Len(s, made, 1, "a fresh grant is worth its count")
		s.checkMinted(requests, made)
		s.everyOther(made[0], call)
	}
}

// everyOther calls every method for a new runner, but for Poll and Mint.
func (s *suite) everyOther(r provisioner.Registration, call func(what string, f func(context.Context) error)) {
	s.Helper()
	call("Identify", func(ctx context.Context) error { _, err := s.c.Identify(ctx); return err })
	if a, ok := s.c.(provisioner.Announcer); ok {
		call("Announce", func(ctx context.Context) error { return a.Announce(ctx, s.ref(r)) })
	}
	for _, state := range []provisioner.EventState{provisioner.EventStarting, provisioner.EventRunning} {
		call("Report", func(ctx context.Context) error { return s.c.Report(ctx, []provisioner.Event{s.event(r, state)}) })
	}
	if k, ok := s.c.(provisioner.Knower); ok {
		call("Facts", func(ctx context.Context) error { _, err := k.Facts(ctx, s.refs(r)); return err })
	}
	if a, ok := s.c.(provisioner.Retirer); ok {
		call("Retire", func(ctx context.Context) error { _, err := a.Retire(ctx, s.refs(s.stranger())); return err })
	}
}

// keepPolling polls, again and again, until the subtest is over. It returns when the
// first one has had the time to begin.
func (s *suite) keepPolling() {
	s.Helper()
	ctx, cancel := context.WithCancel(s.Context())
	ended := make(chan error, 1)
	go func() {
		for {
			_, err := s.c.Poll(ctx, advert(s.patience))
			if ctx.Err() != nil {
				err = nil
			}
			if err != nil || ctx.Err() != nil {
				ended <- err
				return
			}
			pause(ctx, 20*time.Millisecond) // one that does not wait is asked again
		}
	}()
	s.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			require.NoError(s, err, "poll")
		case <-time.After(s.patience + grace):
			s.Error("the poll outlives its context")
		}
	})
	pause(ctx, brief)
}

// pause returns after d, or when ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func callsAtOnce(s *suite) {
	const jobs, callers = 4, 8
	reserved := s.demand(jobs)
	worth := jobs
	if s.traits.Targets { // nothing is reserved: every runner that is asked for is made
		worth = callers
	}
	type answer struct {
		requests []provisioner.MintRequest
		made     []provisioner.Registration
		err      error
	}
	answers := make([]answer, callers)
	var group sync.WaitGroup
	for i := range answers {
		a := &answers[i]
		a.requests = s.requests(reserved[i%jobs])
		group.Go(func() { a.made, a.err = s.c.Mint(s.Context(), a.requests) })
	}
	group.Wait()
	var registrations []provisioner.Registration
	for _, a := range answers {
		require.NoError(s, a.err, "mint")
		s.checkMinted(a.requests, a.made)
		registrations = append(registrations, a.made...)
	}
	require.Len(s, registrations, worth, "of %d requests at once for %d jobs", callers, jobs)
	s.allAtOnce(registrations)
}

// allAtOnce has the registrations used by one goroutine each.
func (s *suite) allAtOnce(registrations []provisioner.Registration) {
	s.Helper()
	var (
		group sync.WaitGroup
		mu    sync.Mutex
		errs  = map[string]error{}
	)
	for i, r := range registrations {
		for _, other := range registrations[:i] {
			require.False(s, len(r.Env) > 0 && maps.Equal(r.Env, other.Env), "two runners share one registration")
		}
		group.Go(func() {
			s.everyOther(r, func(what string, f func(context.Context) error) {
				if err := f(s.Context()); err != nil {
					mu.Lock()
					defer mu.Unlock()
					errs[what] = err
				}
			})
		})
	}
	group.Wait()
	require.Empty(s, errs)
}
