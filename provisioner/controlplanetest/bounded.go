package controlplanetest

import (
	"context"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/provisioner"
)

var bounded = []promise{
	{name: "context/a poll ends with it", why: "a freed slot cancels the poll under way to advertise anew", check: contextPoll},
	{name: "context/over before the call", why: "a loop that stops must not wait for calls that it no longer wants", check: contextOver},
	{name: "context/nothing outlives it", why: "one hanging answer must not hold up a worker for ever", check: contextHang},
}

func contextPoll(s *suite) {
	s.poll(advert(0))
	began := time.Now()
	for range 20 { // one that answers at once and empty is asked again
		err := s.soon("Poll", 300*time.Millisecond, func(ctx context.Context) error {
			_, err := s.c.Poll(ctx, advert(s.patience))
			return err
		})
		if err != nil || time.Since(began) > 300*time.Millisecond {
			break
		}
	}
	s.demand(1) // and the next one works
}

// each calls every method with contexts that end after d.
func (s *suite) each(d time.Duration, each func(what string, err error)) {
	s.Helper()
	r := s.stranger()
	call := func(what string, f func(context.Context) error) { each(what, s.soon(what, d, f)) }
	call("Identify", func(ctx context.Context) error { _, err := s.c.Identify(ctx); return err })
	call("Poll", func(ctx context.Context) error { _, err := s.c.Poll(ctx, advert(s.patience)); return err })
	call("Mint", func(ctx context.Context) error { _, err := s.c.Mint(ctx, s.requests(s.id())); return err })
	call("Report", func(ctx context.Context) error {
		return s.c.Report(ctx, []provisioner.Event{s.event(r, provisioner.EventRunning)})
	})
	if a, ok := s.c.(provisioner.Announcer); ok {
		call("Announce", func(ctx context.Context) error { return a.Announce(ctx, s.ref(r)) })
	}
	if k, ok := s.c.(provisioner.Knower); ok {
		call("Facts", func(ctx context.Context) error {
			_, err := k.Facts(ctx, s.refs(r))
			return err
		})
	}
	if a, ok := s.c.(provisioner.Retirer); ok {
		call("Retire", func(ctx context.Context) error {
			_, err := a.Retire(ctx, s.refs(r))
			return err
		})
	}
}

func contextOver(s *suite) {
	s.each(0, func(what string, err error) {
		require.NotErrorIs(s, err, provisioner.ErrUnauthorized, "%s blames the credential", what)
		require.NotErrorIs(s, err, provisioner.ErrRejected, "%s blames what was sent", what)
	})
	s.demand(1)
}

func contextHang(s *suite) {
	hanger := need[Hanger](s)
	s.poll(advert(0))
	hanger.Hang(s.T)
	hanging := true
	unhang := func() {
		if hanging {
			hanging = false
			hanger.Unhang(s.T)
		}
	}
	s.Cleanup(unhang)
	s.each(200*time.Millisecond, func(what string, err error) {
		require.NotErrorIs(s, err, provisioner.ErrUnauthorized, "%s blames the credential", what)
		require.NotErrorIs(s, err, provisioner.ErrRejected, "%s blames what was sent", what)
	})
	unhang()
	s.demand(1)
}
