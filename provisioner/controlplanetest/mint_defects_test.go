package controlplanetest_test

import (
	"context"
	"slices"

	"github.com/google/uuid"

	"github.com/slipway-ci/slipway/provisioner"
)

// mintDefects are registrations that are wrong, or too many.
var mintDefects = map[string]defect{
	"one registration for all": {promise: "mint/one for each", mint: func(ctx context.Context, w *wrapped, requests []provisioner.MintRequest) ([]provisioner.Registration, error) {
		made, err := w.plane.Mint(ctx, requests)
		for i := range made {
			made[i].Env = made[0].Env
		}
		return made, err
	}},
	"registrations of others": {promise: "mint/one for each", mint: func(ctx context.Context, w *wrapped, requests []provisioner.MintRequest) ([]provisioner.Registration, error) {
		made, err := w.plane.Mint(ctx, requests)
		for i := range made {
			made[i].Runner = uuid.NewString()
		}
		return made, err
	}},
	"mints what is another's": {promise: "mint/its own reservation", mint: func(ctx context.Context, w *wrapped, requests []provisioner.MintRequest) (made []provisioner.Registration, err error) {
		for _, q := range requests {
			w.mu.Lock()
			for id := range w.due {
				if w.left(q.Reservation) == 0 && w.left(id) > 0 {
					q.Reservation = id
				}
			}
			w.mu.Unlock()
			some, err := w.plane.Mint(ctx, []provisioner.MintRequest{q})
			if err != nil {
				return nil, err
			}
			made = append(made, some...)
		}
		return made, nil
	}},
	"takes another's job": {promise: "mint/its own reservation", mint: func(ctx context.Context, w *wrapped, requests []provisioner.MintRequest) ([]provisioner.Registration, error) {
		w.mu.Lock()
		first := slices.IndexFunc(w.jobs, func(j *job) bool { return j.reservation != "" })
		own := slices.IndexFunc(w.jobs, func(j *job) bool { return j.reservation == requests[0].Reservation })
		if own >= 0 {
			w.jobs[own].reservation, w.jobs[first].reservation = w.jobs[first].reservation, w.jobs[own].reservation
		}
		w.mu.Unlock()
		return w.plane.Mint(ctx, requests)
	}},
	"mints beyond the grant": {promise: "mint/no more than granted", mint: mintWarm},
	"mints for nothing":      {promise: "mint/unknown reservation", mint: mintWarm},
	"stops at a reservation that ended": {promise: "mint/unknown reservation", mint: func(ctx context.Context, w *wrapped, requests []provisioner.MintRequest) ([]provisioner.Registration, error) {
		made, err := w.plane.Mint(ctx, requests)
		if len(made) == 0 {
			err = errBroken
		}
		return made, err
	}},
	"labels of the loop's own": {promise: "mint/one for each", mint: func(ctx context.Context, w *wrapped, requests []provisioner.MintRequest) ([]provisioner.Registration, error) {
		made, err := w.plane.Mint(ctx, requests)
		for i := range made {
			made[i].Labels[provisioner.LabelTemplate] = "mine"
		}
		return made, err
	}},
	"secret in a label": {promise: "mint/secrets stay in the environment", mint: func(ctx context.Context, w *wrapped, requests []provisioner.MintRequest) ([]provisioner.Registration, error) {
		made, err := w.plane.Mint(ctx, requests)
		for i := range made {
			made[i].Labels["token"] = made[i].Env["TOKEN"]
		}
		return made, err
	}},
	"warm asked for, and nothing made": {promise: "mint/warm", mint: func(ctx context.Context, w *wrapped, requests []provisioner.MintRequest) ([]provisioner.Registration, error) {
		if requests[0].Reservation == "" {
			return nil, nil
		}
		return w.plane.Mint(ctx, requests)
	}},
}

func mintWarm(ctx context.Context, w *wrapped, requests []provisioner.MintRequest) ([]provisioner.Registration, error) {
	requests = slices.Clone(requests)
	for i := range requests {
		requests[i].Reservation = ""
	}
	return w.plane.Mint(ctx, requests)
}
