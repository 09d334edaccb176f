package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/backend/memory"
	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/template"
)

// launches is how many runners the loop launches.
const launches = 5_000

// launchFigure measures the CPU time that the loop takes for a runner's whole
// life: granted, minted, launched, observed, reported, removed. The floor is the
// same calls to the backend, made straight.
func launchFigure(ctx context.Context) (string, error) {
	floor, err := cpuOf(func() error { return straight(ctx) })
	if err != nil {
		return "", err
	}
	whole, err := cpuOf(func() error { return throughLoop(ctx) })
	if err != nil {
		return "", err
	}
	each := (whole - floor) / launches
	const bar = time.Millisecond
	return fmt.Sprintf("loop over the memory backend: %s of CPU a launch, beside %s for the backend's own calls; bar %s: %s",
		milliseconds(each), milliseconds(floor/launches), milliseconds(bar), verdict(each < bar)), nil
}

// cpuOf is the CPU time of this process while do runs, user and system.
func cpuOf(do func() error) (time.Duration, error) {
	before, err := cpuTime()
	if err == nil {
		err = do()
	}
	after, errAfter := cpuTime()
	return after - before, errors.Join(err, errAfter)
}

func cpuTime() (time.Duration, error) {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		return 0, err
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), nil
}

// engine runs runners that live for a moment.
func engine() *memory.Engine {
	return memory.New(memory.Config{Behaviour: func(backend.Spec) memory.Program { return memory.Program{Run: time.Millisecond} }})
}

func straight(ctx context.Context) error {
	b := engine().Backend("bench")
	for range launches {
		id, err := uuid.NewV7()
		if err != nil {
			return err
		}
		if err := b.Launch(ctx, backend.Spec{ID: id.String()}); err != nil {
			return err
		}
		if err := b.Remove(ctx, id.String()); err != nil {
			return err
		}
	}
	return nil
}

func throughLoop(ctx context.Context) error {
	p := &plane{left: launches, open: map[string]bool{}, done: make(chan struct{})}
	loop, err := provisioner.New(provisioner.Config{
		ControlPlane: p, Backend: engine().Backend("bench"),
		Templates: []template.Template{{Key: "bench", Labels: []string{"bench"}, CPU: 1, Memory: 1 << 20, MaxConcurrency: 1000}},
		Limits:    provisioner.Limits{MaxReservations: 1000},
	})
	if err != nil {
		return err
	}
	own, stop := context.WithTimeout(ctx, 5*time.Minute)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- loop.Run(own) }()
	select {
	case <-p.done:
	case <-own.Done():
		return errors.Join(own.Err(), <-ended)
	}
	stop()
	return <-ended
}

// plane grants as many runners as there is room for until all were granted, and
// is done when all have ended.
type plane struct {
	mu    sync.Mutex
	left  int
	ended int
	open  map[string]bool
	done  chan struct{}
}

// Identify names the owner.
func (p *plane) Identify(context.Context) (provisioner.Identity, error) {
	return provisioner.Identity{ID: "bench"}, nil
}

// Poll grants what there is room for.
func (p *plane) Poll(ctx context.Context, ad provisioner.Advertisement) (provisioner.Demand, error) {
	p.mu.Lock()
	n := min(p.left, ad.Free(), ad.MaxReservations)
	p.left -= n
	p.mu.Unlock()
	if ad.Free() == 0 || ad.MaxReservations == 0 {
		return provisioner.Demand{}, nil // there is no room: nothing to wait for
	}
	if n > 0 {
		return provisioner.Demand{Grants: []provisioner.Grant{{
			Reservation: uuid.NewString(), Labels: []string{"bench"}, Count: n, Lifetime: time.Minute,
		}}}, nil
	}
	wait := time.NewTimer(ad.Wait)
	defer wait.Stop()
	select {
	case <-wait.C:
		return provisioner.Demand{}, nil
	case <-ctx.Done():
		return provisioner.Demand{}, ctx.Err()
	}
}

// Mint makes registrations of nothing.
func (p *plane) Mint(_ context.Context, requests []provisioner.MintRequest) ([]provisioner.Registration, error) {
	made := make([]provisioner.Registration, len(requests))
	for i, r := range requests {
		made[i] = provisioner.Registration{Runner: r.Runner, Command: []string{"true"}}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range requests {
		p.open[r.Runner] = true
	}
	return made, nil
}

// Report counts the runners that ended.
func (p *plane) Report(_ context.Context, events []provisioner.Event) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range events {
		if e.State.Terminal() && p.open[e.Runner] {
			delete(p.open, e.Runner)
			if p.ended++; p.ended == launches {
				close(p.done)
			}
		}
	}
	return nil
}
