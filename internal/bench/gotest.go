package main

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// planFigure runs the benchmark of one decision over 1,000 templates, 1,000
// reservations and 1,000 runners.
func planFigure(ctx context.Context) (string, error) {
	values, err := goBenchmark(ctx, "./provisioner", "BenchmarkPlan", "2s")
	if err != nil {
		return "", err
	}
	took := time.Duration(values["ns/op"])
	const bar = 5 * time.Millisecond
	return fmt.Sprintf("Plan with 1,000 templates and 1,000 reservations: %s; bar %s: %s", milliseconds(took), milliseconds(bar), verdict(took < bar)), nil
}

// dockerFigure runs the benchmark of launches against straight calls.
func dockerFigure(ctx context.Context) (string, error) {
	values, err := goBenchmark(ctx, "./docker", "BenchmarkLaunch100", "1x")
	if err != nil {
		return "", err
	}
	const bar = 1.15
	return fmt.Sprintf("100 launches on Docker: %.2f times the same calls straight at the engine (%.0f ms and %.0f ms a launch); bar %.2f times: %s",
		values["ratio"], values["ms/launch"], values["ms/straight"], bar, verdict(values["ratio"] <= bar)), nil
}

// standaloneFigure runs the provisioner as a process: 100 jobs against the raw
// engine, and what it costs while it waits, alone and with 100 live runners.
func standaloneFigure(ctx context.Context) (string, error) {
	v, err := goBenchmark(ctx, "./internal/standalone", "BenchmarkProvisioner", "1x")
	if err != nil {
		return "", err
	}
	var parts []string
	for _, f := range []struct {
		what, unit string
		bar        float64
	}{
		{"100 jobs until 100 containers run, times the raw engine", "ratio", 1.15},
		{"idle memory in MB", "idle-MB", 30}, {"idle % of a core", "idle-cpu%", 0.2},
		{"with 100 runners memory in MB", "live-MB", 45}, {"with 100 runners % of a core", "live-cpu%", 0.5},
		{"start to ready in ms", "ready-ms", 300},
	} {
		parts = append(parts, fmt.Sprintf("%s: %.3g; bar %g: %s", f.what, v[f.unit], f.bar, verdict(v[f.unit] <= f.bar)))
	}
	return strings.Join(parts, "\n           "), nil
}

// hubPassFigure adds up the two benchmarks that a reconcile pass of the hub is made
// of: the list through a view of the fleet, and the loop's taking it in and deciding.
func hubPassFigure(ctx context.Context) (string, error) {
	var lists, passes []time.Duration
	for range passRepeats {
		list, err := goBenchmark(ctx, "./hub/fleet", "BenchmarkListView20000", "1s")
		if err != nil {
			return "", err
		}
		pass, err := goBenchmark(ctx, "./provisioner", "BenchmarkPass20000", "1s")
		if err != nil {
			return "", err
		}
		lists, passes = append(lists, time.Duration(list["ns/op"])), append(passes, time.Duration(pass["ns/op"]))
	}
	list, pass := quantile(lists, 0.5), quantile(passes, 0.5)
	const bar = 50 * time.Millisecond
	return fmt.Sprintf("a reconcile pass over 20,000 runners: %s, the fleet's list %s and the loop's decision %s, medians of %d; bar %s: %s",
		milliseconds(list+pass), milliseconds(list), milliseconds(pass), passRepeats, milliseconds(bar), verdict(list+pass < bar)), nil
}

const passRepeats = 3

// goBenchmark runs one benchmark and returns its values by unit.
func goBenchmark(ctx context.Context, pkg, name, length string) (map[string]float64, error) {
	out, err := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^"+name+"$", "-benchtime", length, pkg).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", name, err, out)
	}
	values, ok := benchmarkValues(string(out), name)
	if !ok {
		return nil, fmt.Errorf("%s was skipped: %s", name, out)
	}
	return values, nil
}

// benchmarkValues reads the line of a benchmark: its name, how often it ran, and
// pairs of a value and its unit (golang.org/design/14313-benchmark-format).
func benchmarkValues(output, name string) (map[string]float64, bool) {
	for line := range strings.Lines(output) {
		fields := strings.Fields(line)
		if len(fields) < 4 || strings.Split(fields[0], "-")[0] != name {
			continue
		}
		values := map[string]float64{}
		for i := 2; i+1 < len(fields); i += 2 {
			value, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return nil, false
			}
			values[fields[i+1]] = value
		}
		return values, true
	}
	return nil, false
}
