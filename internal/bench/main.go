// Command bench measures the figures that the documents quote, and prints a line
// for each: what was measured, the floor of the same run that it is compared
// with, and the bar. It judges nothing by exit code: a figure depends on the
// machine, and on what else it does.
//
// Usage: go run ./internal/bench [NAME…], from the module's root; names are
// plan, grant, launch, docker and standalone (the provisioner as a process; some
// minutes); and, only when they are named, hub-pass, hub-launch and hub (the hub as a
// process, with simulated hosts; ten minutes).
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"
)

// figure is one measurement.
type figure struct {
	name    string
	measure func(context.Context) (string, error)
	named   bool // only measured when it is named
}

var figures = []figure{
	{name: "plan", measure: planFigure},
	{name: "grant", measure: grantFigure},
	{name: "launch", measure: launchFigure},
	{name: "docker", measure: dockerFigure},
	{name: "standalone", measure: standaloneFigure},
	{name: "hub-pass", measure: hubPassFigure, named: true},
	{name: "hub-launch", measure: hubLaunchFigure, named: true},
	{name: "hub", measure: hubFigure, named: true},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	for _, name := range os.Args[1:] {
		if !slices.ContainsFunc(figures, func(f figure) bool { return f.name == name }) {
			fmt.Fprintf(os.Stderr, "bench: there is no figure %q\n", name)
			os.Exit(2)
		}
	}
	failed := false
	for _, f := range figures {
		if all := len(os.Args) == 1; all && f.named || !all && !slices.Contains(os.Args[1:], f.name) {
			continue
		}
		line, err := f.measure(ctx)
		if err != nil {
			failed = true
			line = "not measured: " + strings.Join(strings.Fields(err.Error()), " ")
		}
		fmt.Printf("%-10s %s\n", f.name, line)
	}
	if failed {
		os.Exit(1)
	}
}

// verdict says whether a bar is met.
func verdict(met bool) string {
	if met {
		return "met"
	}
	return "MISSED"
}

// quantile is the q-th quantile of samples, 0 to 1: the smallest sample that so
// many are not above.
func quantile(samples []time.Duration, q float64) time.Duration {
	if len(samples) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(samples))
	i := int(q*float64(len(sorted)) + 0.999999)
	return sorted[min(max(i-1, 0), len(sorted)-1)]
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
}
