package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBenchmarkValues(t *testing.T) {
	const output = "goos: linux\nBenchmarkPlan-2   \t    1171\t   2048576 ns/op\t  1.10 ratio\nPASS\nok x 2s\n"
	values, ok := benchmarkValues(output, "BenchmarkPlan")
	require.True(t, ok)
	require.Equal(t, map[string]float64{"ns/op": 2048576, "ratio": 1.1}, values)
	_, ok = benchmarkValues(output, "BenchmarkLaunch100")
	require.False(t, ok, "a benchmark that was skipped prints no line")
	values, ok = benchmarkValues("BenchmarkLaunch100 \t 1 \t 5 ns/op\n", "BenchmarkLaunch100")
	require.True(t, ok, "one processor adds no number to the name")
	require.Equal(t, 5.0, values["ns/op"])
}

func TestQuantile(t *testing.T) {
	var samples []time.Duration
	for i := range 100 {
		samples = append(samples, time.Duration(100-i))
	}
	require.Equal(t, time.Duration(99), quantile(samples, 0.99))
	require.Equal(t, time.Duration(50), quantile(samples, 0.5))
	require.Equal(t, time.Duration(100), quantile(samples, 1))
	require.Equal(t, time.Duration(7), quantile([]time.Duration{7}, 0.99))
	require.Zero(t, quantile(nil, 0.5))
}
