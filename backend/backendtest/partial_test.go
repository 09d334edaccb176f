package backendtest_test

import (
	"context"
	"maps"
	"os"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/backend"
)

// Defects of a backend that mixes its runners up, or does a part of what it says.

func init() { maps.Copy(defects, partial) }

// launchWith launches with another environment than the spec's.
func launchWith(change func(w *wrapped, env map[string]string) map[string]string) func(context.Context, *wrapped, backend.Spec) error {
	return func(ctx context.Context, w *wrapped, spec backend.Spec) error {
		spec.Env = change(w, maps.Clone(spec.Env))
		return w.Backend.Launch(ctx, spec)
	}
}

// newest is the runner that was launched last; ids are in the order of time.
func (w *wrapped) newest() backend.Spec {
	w.mu.Lock()
	defer w.mu.Unlock()
	var newest backend.Spec
	for id, spec := range w.seen {
		if id > newest.ID {
			newest = spec
		}
	}
	return newest
}

// lives says whether the runner holds a slot.
func (w *wrapped) lives(ctx context.Context, id string) bool {
	listing, _ := w.Backend.List(ctx)
	for _, r := range listing.Runners {
		if r.ID == id {
			return r.State.HoldsSlot()
		}
	}
	return false
}

var partial = map[string]defect{
	"environment dropped": {promise: "launch/its own environment", launch: launchWith(func(*wrapped, map[string]string) map[string]string { return nil })},
	"environment of the runner before": {promise: "launch/its own environment", launch: launchWith(func(w *wrapped, env map[string]string) map[string]string {
		w.mu.Lock()
		defer w.mu.Unlock()
		before, ok := w.seen["before"]
		w.seen["before"] = backend.Spec{Env: env}
		if ok {
			return before.Env
		}
		return env
	})},
	"environment of the one before added": {promise: "launch/its own environment", launch: launchWith(func(w *wrapped, env map[string]string) map[string]string {
		w.mu.Lock()
		defer w.mu.Unlock()
		all := maps.Clone(env)
		for name, value := range w.seen["before"].Env {
			all["OLD_"+name] = value
		}
		w.seen["before"] = backend.Spec{Env: env}
		return all
	})},
	"environment of the backend added": {promise: "launch/its own environment", launch: launchWith(func(_ *wrapped, env map[string]string) map[string]string {
		for _, line := range os.Environ() {
			name, value, _ := strings.Cut(line, "=")
			if _, ok := env[name]; !ok {
				env[name] = value
			}
		}
		return env
	})},
	"environment read by a shell": {promise: "launch/its own environment", launch: launchWith(func(_ *wrapped, env map[string]string) map[string]string {
		for name, value := range env {
			env[name] = os.ExpandEnv(value)
		}
		return env
	})},
	"ends with the context of its launch": {promise: "launch/outlives its context", launch: func(ctx context.Context, w *wrapped, spec backend.Spec) error {
		context.AfterFunc(ctx, func() { w.h.engine.Kill(spec.ID) })
		return w.Backend.Launch(ctx, spec)
	}},
	"labels of the newest": {promise: "list/many", each: func(w *wrapped, r *backend.Runner) {
		r.Labels = maps.Clone(w.newest().Labels)
	}},
	"exit code of the newest": {promise: "state/failed", list: func(ctx context.Context, w *wrapped) (backend.Listing, error) {
		listing, err := w.Backend.List(ctx)
		var code *int
		for _, r := range listing.Runners {
			if r.ExitCode != nil {
				code = r.ExitCode
			}
		}
		for i, r := range listing.Runners {
			if r.State.Ended() {
				listing.Runners[i].ExitCode = code
			}
		}
		return listing, err
	}},
	"first page told as all": {promise: "list/many", list: func(ctx context.Context, w *wrapped) (backend.Listing, error) {
		listing, err := w.Backend.List(ctx)
		listing.Runners = listing.Runners[:min(20, len(listing.Runners))]
		return listing, err
	}},
	"log told at the end only": {promise: "logs/while it runs", logs: func(ctx context.Context, w *wrapped, id, text string) (string, error) {
		for w.lives(ctx, id) {
			select {
			case <-time.After(time.Millisecond):
			case <-ctx.Done():
				return "", ctx.Err()
			}
		}
		return text, nil
	}},
	"log empty until the end": {promise: "logs/while it runs", logs: func(ctx context.Context, w *wrapped, id, text string) (string, error) {
		if w.lives(ctx, id) {
			return "", nil
		}
		return text, nil
	}},
	// The runner that tells prints on stderr, and no other does.
	"stderr lost": {promise: "logs/while it runs", logs: func(_ context.Context, w *wrapped, id, text string) (string, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.seen[id].Command[0] == "tell" {
			return "", nil
		}
		return text, nil
	}},
	"room or none": {promise: "capacity/told for each spec", capacity: func(free []int) []int {
		for i, n := range free {
			free[i] = min(n, 1) * 1000
		}
		return free
	}},
	"room is that of an empty engine": {promise: "capacity/told for each spec", capacity: func(free []int) []int {
		for i, n := range free {
			free[i] = min(n, 1) * room
		}
		return free
	}},
	"one launch at a time": {promise: "launch/beside one that hangs", launch: func(ctx context.Context, w *wrapped, spec backend.Spec) error {
		unlock, err := w.lockTurn(ctx)
		if err != nil {
			return err
		}
		defer unlock()
		return w.Backend.Launch(ctx, spec)
	}},
	"listing waits for launches": {
		promise: "launch/beside one that hangs",
		launch: func(ctx context.Context, w *wrapped, spec backend.Spec) error {
			select { // other launches don't wait
			case w.turn <- struct{}{}:
				defer func() { <-w.turn }()
			default:
			}
			return w.Backend.Launch(ctx, spec)
		},
		list: func(ctx context.Context, w *wrapped) (backend.Listing, error) {
			unlock, err := w.lockTurn(ctx)
			if err != nil {
				return backend.Listing{}, err
			}
			defer unlock()
			return w.Backend.List(ctx)
		},
	},
	"field passed over": {promise: "launch/what can't be honoured", launch: func(ctx context.Context, w *wrapped, spec backend.Spec) error {
		spec.User = ""
		return w.Backend.Launch(ctx, spec)
	}},
	"field refused without its name": {promise: "launch/what can't be honoured", launch: func(ctx context.Context, w *wrapped, spec backend.Spec) error {
		if spec.User != "" {
			return backend.ErrInvalid
		}
		return w.Backend.Launch(ctx, spec)
	}},
}
