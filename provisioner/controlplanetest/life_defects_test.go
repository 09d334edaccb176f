package controlplanetest_test

import (
	"context"
	"slices"
	"time"

	"github.com/slipway-ci/slipway/provisioner"
)

// lifeDefects are told, or kept, lives of grants that are wrong.
var lifeDefects = map[string]defect{
	"told longer than it is kept":  {promise: "life/as long as told", poll: adjust(nil, tell(100*time.Hour))},
	"told longer by half":          {promise: "life/as long as told", life: time.Hour, poll: adjust(nil, tell(2*time.Hour))},
	"told shorter than it is kept": {promise: "life/no longer than told", life: time.Hour, poll: adjust(nil, tell(time.Minute))},
	"minted after its life":        {promise: "life/no longer than told", mint: mintLate},
	"minted after its long life":   {promise: "life/no longer than told", life: time.Hour, mint: mintLate},
	"unused grants kept for ever": {promise: "life/after a restart", poll: func(ctx context.Context, w *wrapped, ad provisioner.Advertisement) (provisioner.Demand, error) {
		w.outlive()
		return w.plane.Poll(ctx, ad)
	}},
	"unused grants come back at a restart alone": {promise: "life/no longer than told", poll: func(ctx context.Context, w *wrapped, ad provisioner.Advertisement) (provisioner.Demand, error) {
		if w.session == 1 {
			w.outlive()
		}
		return w.plane.Poll(ctx, ad)
	}},
	"jobs that run granted again": {promise: "life/of a job that runs", life: time.Minute, poll: func(ctx context.Context, w *wrapped, ad provisioner.Advertisement) (provisioner.Demand, error) {
		w.mu.Lock()
		for _, j := range w.jobs {
			if due, ok := w.due[j.reservation]; ok && time.Now().After(due) {
				j.reservation, j.runner = "", ""
			}
		}
		w.mu.Unlock()
		return w.plane.Poll(ctx, ad)
	}},
	"jobs that have run granted again": {promise: "life/of a job that runs", life: time.Minute, report: func(ctx context.Context, w *wrapped, events []provisioner.Event) error {
		w.mu.Lock()
		for _, j := range w.jobs {
			if slices.ContainsFunc(events, func(e provisioner.Event) bool { return e.State.Terminal() && e.Runner == j.runner }) {
				j.reservation, j.runner = "", ""
			}
		}
		w.mu.Unlock()
		return w.plane.Report(ctx, events)
	}},
	"no life asked for is none": {promise: "life/none asked for", poll: func(ctx context.Context, w *wrapped, ad provisioner.Advertisement) (provisioner.Demand, error) {
		if ad.ReservationLifetime == 0 {
			ad.ReservationLifetime = time.Nanosecond
		}
		return w.plane.Poll(ctx, ad)
	}},
}

// tell tells a life whatever is kept.
func tell(life time.Duration) func(*provisioner.Demand) {
	return func(d *provisioner.Demand) {
		for i := range d.Grants {
			d.Grants[i].Lifetime = life
		}
	}
}

// outlive makes grants live on that are over.
func (p *plane) outlive() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, due := range p.due {
		if time.Now().After(due) {
			p.due[id] = time.Now().Add(time.Hour)
		}
	}
}

func mintLate(ctx context.Context, w *wrapped, requests []provisioner.MintRequest) ([]provisioner.Registration, error) {
	w.outlive()
	return w.plane.Mint(ctx, requests)
}
