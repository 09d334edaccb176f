package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/bench/hubload"
)

const (
	// hubHosts is the size that the hub's bars are about, hubEach how many runners
	// a host has.
	hubHosts, hubEach = 1000, 20
	// hubRestarts is how often the hub is killed.
	hubRestarts = 3
	// hubWindow is how long the steady state is watched, after hubQuiet of quiet.
	hubWindow, hubQuiet = time.Minute, 30 * time.Second
	// hubPatience bounds all that is done with one hub.
	hubPatience = 20 * time.Minute
)

// hubFigure loads the program slipway-hub with 1,000 simulated hosts and 20,000
// runners, kills it, and watches it; then with fewer hosts, to see what a host costs.
func hubFigure(ctx context.Context) (lines string, err error) {
	dir, err := os.MkdirTemp(".", ".bench-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if dir, err = filepath.Abs(dir); err != nil {
		return "", err
	}
	program, err := hubload.Build(ctx, dir)
	if err != nil {
		return "", err
	}
	var out []string
	costs := map[int]hubCost{}
	for _, hosts := range []int{hubHosts, 100, 10, 0} {
		b := &hubBench{program: program, dir: filepath.Join(dir, fmt.Sprint(hosts)), hosts: hosts}
		cost, more, err := b.run(ctx)
		if err != nil {
			return "", fmt.Errorf("with %d hosts: %w", hosts, err)
		}
		costs[hosts] = cost
		out = append(out, more...)
	}
	return strings.Join(append(out, perHost(costs)), "\n           "), nil
}

// hubBench is a hub of one size.
type hubBench struct {
	program, dir string
	hosts        int
}

// hubCost is what a hub takes while nothing happens.
type hubCost struct {
	cpu    float64 // of one core, 1 is all of it
	memory int64   // resident, in bytes
}

func (b *hubBench) run(ctx context.Context) (cost hubCost, lines []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, hubPatience)
	defer cancel()
	if err := os.Mkdir(b.dir, 0o700); err != nil {
		return cost, nil, err
	}
	load, err := hubload.Open(ctx, hubload.Config{Program: b.program, Dir: b.dir, Hosts: b.hosts, Each: hubEach})
	if err != nil {
		return cost, nil, err
	}
	defer func() { err = errors.Join(err, load.Close()) }()
	if err := load.Fill(ctx); err != nil {
		return cost, nil, err
	}
	if b.hosts == hubHosts {
		line, err := restarts(ctx, load)
		if err != nil {
			return cost, nil, err
		}
		lines = append(lines, line)
	}
	var peak int64
	if cost, peak, err = steady(ctx, load); err != nil || b.hosts != hubHosts {
		return cost, lines, err
	}
	const cpuBar, memoryBar = 0.1, 400 << 20
	return cost, append(lines, fmt.Sprintf("its steady state for %s: %.2g %% of a core; bar %g %%: %s; %d MB resident, %d MB at most since its start; bar %d MB: %s",
		hubWindow, 100*cost.cpu, 100*cpuBar, verdict(cost.cpu < cpuBar), cost.memory>>20, peak>>20, memoryBar>>20, verdict(peak < memoryBar))), nil
}

// restarts kills the hub and starts it again, with a rest between: agents that were
// let in a moment ago come back more slowly.
func restarts(ctx context.Context, load *hubload.Load) (string, error) {
	var took []time.Duration
	for range hubRestarts {
		if err := rest(ctx, hubQuiet); err != nil {
			return "", err
		}
		d, err := load.Restart(ctx)
		if err != nil {
			return "", err
		}
		took = append(took, d)
	}
	const bar = 15 * time.Second
	return fmt.Sprintf("%d agents and %d runners, from the hub's start after kill -9 until every list is taken over and every runner known: %.2g s, median of %d, %.2g s at worst; bar %g s: %s",
		hubHosts, load.Runners(), quantile(took, 0.5).Seconds(), len(took), quantile(took, 1).Seconds(), bar.Seconds(), verdict(quantile(took, 0.5) < bar)), nil
}

// steady watches a hub that nothing is asked of.
func steady(ctx context.Context, load *hubload.Load) (cost hubCost, peak int64, err error) {
	if err := rest(ctx, hubQuiet); err != nil {
		return cost, 0, err
	}
	before, err := load.Usage()
	if err == nil {
		err = rest(ctx, hubWindow)
	}
	if err != nil {
		return cost, 0, err
	}
	after, err := load.Usage()
	return hubCost{cpu: (after.CPU - before.CPU).Seconds() / hubWindow.Seconds(), memory: after.Memory}, after.Peak, err
}

// perHost tells what each host costs, beyond what the hub takes without any.
func perHost(costs map[int]hubCost) string {
	base := costs[0]
	each := func(hosts int) float64 { return (costs[hosts].cpu - base.cpu) / float64(hosts) }
	var parts []string
	for _, hosts := range []int{10, 100, hubHosts} {
		parts = append(parts, fmt.Sprintf("of %d %.2g %% of a core and %.2g MB", hosts, 100*each(hosts),
			float64(costs[hosts].memory-base.memory)/float64(hosts)/(1<<20)))
	}
	// Ticks of 10 ms and a garbage collector that runs now and then blur the small ones.
	const slack = 1.2
	return fmt.Sprintf("its cost of a host with %d runners, beyond that of a hub without (%.2g %%, %d MB): %s; bar: one of %d costs no more than one of 100: %s",
		hubEach, 100*base.cpu, base.memory>>20, strings.Join(parts, ", "), hubHosts, verdict(each(hubHosts) <= slack*each(100)))
}

func rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
