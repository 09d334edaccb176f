package controlplanetest_test

import (
	"context"
	"time"

	"github.com/slipway-ci/slipway/provisioner"
)

// callDefects are calls that wait for each other, or run into each other.
var callDefects = map[string]defect{
	"mints after the poll": {promise: "calls/while a poll waits", poll: pollAlone, mint: func(ctx context.Context, w *wrapped, requests []provisioner.MintRequest) ([]provisioner.Registration, error) {
		w.busy.Lock()
		defer w.busy.Unlock()
		return w.plane.Mint(ctx, requests)
	}},
	"reports after the poll": {promise: "calls/while a poll waits", poll: pollAlone, report: func(ctx context.Context, w *wrapped, events []provisioner.Event) error {
		w.busy.Lock()
		defer w.busy.Unlock()
		return w.plane.Report(ctx, events)
	}},
	"looks after the poll": {promise: "calls/while a poll waits", poll: pollAlone, facts: func(ctx context.Context, w *wrapped, runners []provisioner.Ref) ([]provisioner.Fact, error) {
		w.busy.Lock()
		defer w.busy.Unlock()
		return w.plane.Facts(ctx, runners)
	}},
	"announced after the poll": {promise: "calls/while a poll waits", poll: pollAlone, announce: func(w *wrapped) error {
		w.busy.Lock()
		defer w.busy.Unlock()
		return nil
	}},
	"retired after the poll": {promise: "calls/while a poll waits", poll: pollAlone, retire: func(_ context.Context, w *wrapped, _ []provisioner.Ref) ([]string, error) {
		w.busy.Lock()
		defer w.busy.Unlock()
		return nil, nil
	}},
	"one unit for two at once": {promise: "calls/many at once", mint: func(ctx context.Context, w *wrapped, requests []provisioner.MintRequest) ([]provisioner.Registration, error) {
		w.mu.Lock()
		left := w.left(requests[0].Reservation)
		w.mu.Unlock()
		<-time.After(100 * time.Millisecond) // looks, and acts later on what it saw
		if requests[0].Reservation != "" && left < len(requests) {
			return nil, nil
		}
		made, err := mintWarm(ctx, w, requests)
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, r := range made {
			w.runners[r.Runner].reservation = requests[0].Reservation
		}
		return made, err
	}},
	"refuses who comes second": {promise: "calls/many at once", mint: func(ctx context.Context, w *wrapped, requests []provisioner.MintRequest) ([]provisioner.Registration, error) {
		if !w.busy.TryLock() {
			return nil, errBroken
		}
		defer w.busy.Unlock()
		<-time.After(50 * time.Millisecond)
		return w.plane.Mint(ctx, requests)
	}},
}

// pollAlone holds a lock for as long as it waits.
func pollAlone(ctx context.Context, w *wrapped, ad provisioner.Advertisement) (provisioner.Demand, error) {
	w.busy.Lock()
	defer w.busy.Unlock()
	return w.plane.Poll(ctx, ad)
}

// restartDefects are what a control plane has forgotten after a restart.
var restartDefects = map[string]defect{
	"forgets runners at a restart": {promise: "poll/a runner that failed", report: func(ctx context.Context, w *wrapped, events []provisioner.Event) error {
		if w.session > 1 {
			return nil
		}
		return w.plane.Report(ctx, events)
	}},
	"forgets intents at a restart": {promise: "terminate/told", poll: adjust(nil, func(d *provisioner.Demand) { d.Facts = nil }), facts: func(ctx context.Context, w *wrapped, runners []provisioner.Ref) ([]provisioner.Fact, error) {
		facts, err := w.plane.Facts(ctx, runners)
		for i := range facts {
			facts[i].Unwanted = facts[i].Unwanted && w.session == 1
		}
		return facts, err
	}},
	"intents told once": {promise: "terminate/told", poll: adjust(nil, func(d *provisioner.Demand) { d.Facts = nil }), facts: func(ctx context.Context, w *wrapped, runners []provisioner.Ref) ([]provisioner.Fact, error) {
		facts, err := w.plane.Facts(ctx, runners)
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, r := range w.runners {
			r.unwanted = ""
		}
		return facts, err
	}},
	"ends registrations at a restart": {promise: "mint/starts a runner", open: func(w *wrapped) {
		for _, r := range w.runners {
			r.retired = r.retired || !r.registered
		}
	}},
}
