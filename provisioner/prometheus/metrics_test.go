package prometheus_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	client "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/provisioner/prometheus"
)

func open(t *testing.T) (*client.Registry, *prometheus.Metrics) {
	t.Helper()
	registry := client.NewPedanticRegistry()
	m, err := prometheus.New(prometheus.Config{Registerer: registry})
	require.NoError(t, err)
	return registry, m
}

// same compares the metrics of those names with the text format.
func same(t *testing.T, registry *client.Registry, want string, names ...string) {
	t.Helper()
	require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(want), names...))
}

func TestEventsAreCounted(t *testing.T) {
	registry, m := open(t)
	m.Launched("small", "", 300*time.Millisecond)
	m.Launched("small", "", 3*time.Second)
	m.Launched("small", "exhausted", time.Minute)
	m.Registered("large", 20*time.Second)
	m.Ended("small", "failed", "exit-code")
	m.Ended("small", "failed", "exit-code")
	m.Ended("small", "stopped", "")
	same(t, registry, `
# HELP slipway_launches_total Runners launched.
# TYPE slipway_launches_total counter
slipway_launches_total{template="small"} 2
# HELP slipway_launch_failures_total Launches that failed.
# TYPE slipway_launch_failures_total counter
slipway_launch_failures_total{reason="exhausted",template="small"} 1
# HELP slipway_runners_ended_total Runners that ended.
# TYPE slipway_runners_ended_total counter
slipway_runners_ended_total{reason="",state="stopped",template="small"} 1
slipway_runners_ended_total{reason="exit-code",state="failed",template="small"} 2
# HELP slipway_launch_seconds Time from the mint to the engine's answer, of good launches.
# TYPE slipway_launch_seconds histogram
slipway_launch_seconds_bucket{template="small",le="0.05"} 0
slipway_launch_seconds_bucket{template="small",le="0.1"} 0
slipway_launch_seconds_bucket{template="small",le="0.25"} 0
slipway_launch_seconds_bucket{template="small",le="0.5"} 1
slipway_launch_seconds_bucket{template="small",le="1"} 1
slipway_launch_seconds_bucket{template="small",le="2.5"} 1
slipway_launch_seconds_bucket{template="small",le="5"} 2
slipway_launch_seconds_bucket{template="small",le="10"} 2
slipway_launch_seconds_bucket{template="small",le="30"} 2
slipway_launch_seconds_bucket{template="small",le="60"} 2
slipway_launch_seconds_bucket{template="small",le="120"} 2
slipway_launch_seconds_bucket{template="small",le="300"} 2
slipway_launch_seconds_bucket{template="small",le="+Inf"} 2
slipway_launch_seconds_sum{template="small"} 3.3
slipway_launch_seconds_count{template="small"} 2
`, "slipway_launches_total", "slipway_launch_failures_total", "slipway_runners_ended_total", "slipway_launch_seconds")
	n, err := testutil.GatherAndCount(registry, "slipway_registration_seconds")
	require.NoError(t, err)
	require.Equal(t, 1, n)
}

func TestLevelsAreThoseLastTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry, m := open(t)
		n, err := testutil.GatherAndCount(registry)
		require.NoError(t, err)
		require.Zero(t, n, "before anything was measured there is nothing to tell")

		m.Measured(provisioner.Levels{
			Runners: map[string]map[string]int{"small": {}, "gone": {"running": 9}}, Backoff: map[string]int{"gone": 4},
		})
		n, err = testutil.GatherAndCount(registry, "slipway_poll_age_seconds", "slipway_list_age_seconds")
		require.NoError(t, err)
		require.Zero(t, n, "before the first poll it has no age")
		n, err = testutil.GatherAndCount(registry, "slipway_runners")
		require.NoError(t, err)
		require.Equal(t, 12, n, "two templates, six states")

		counts, backoff := map[string]int{"running": 3, "failed": 1}, map[string]int{"small": 4}
		m.Measured(provisioner.Levels{
			Runners: map[string]map[string]int{"small": counts}, Backoff: backoff,
			LastPoll: time.Now(), LastList: time.Now().Add(-5 * time.Second), Outbox: 7,
		})
		counts["running"], backoff["small"] = 99, 99 // the caller's maps are its own
		time.Sleep(time.Minute)
		same(t, registry, `
# HELP slipway_runners Runners now, by what they do.
# TYPE slipway_runners gauge
slipway_runners{state="exited",template="small"} 0
slipway_runners{state="failed",template="small"} 1
slipway_runners{state="running",template="small"} 3
slipway_runners{state="starting",template="small"} 0
slipway_runners{state="stopping",template="small"} 0
slipway_runners{state="unknown",template="small"} 0
# HELP slipway_launch_failures_in_a_row Launches of the template that failed in a row: what its back-off counts.
# TYPE slipway_launch_failures_in_a_row gauge
slipway_launch_failures_in_a_row{template="small"} 4
# HELP slipway_list_age_seconds Time since the backend was last seen.
# TYPE slipway_list_age_seconds gauge
slipway_list_age_seconds 65
# HELP slipway_poll_age_seconds Time since the last good poll.
# TYPE slipway_poll_age_seconds gauge
slipway_poll_age_seconds 60
# HELP slipway_reports_waiting Reports that the control plane has not accepted yet.
# TYPE slipway_reports_waiting gauge
slipway_reports_waiting 7
`)
	})
}

func TestReasonsAreBounded(t *testing.T) {
	registry, m := open(t)
	for i := range 1000 { // no words
		m.Ended("small", "failed", fmt.Sprintf("No such image: %d", i))
	}
	m.Ended("small", "failed", "exit-code")
	same(t, registry, `
# HELP slipway_runners_ended_total Runners that ended.
# TYPE slipway_runners_ended_total counter
slipway_runners_ended_total{reason="exit-code",state="failed",template="small"} 1
slipway_runners_ended_total{reason="other",state="failed",template="small"} 1000
`, "slipway_runners_ended_total")

	for i := range 1000 { // too many words
		m.Ended("small", "terminated", fmt.Sprintf("job-%d", i))
	}
	n, err := testutil.GatherAndCount(registry, "slipway_runners_ended_total")
	require.NoError(t, err)
	require.Greater(t, n, 10)
	require.LessOrEqual(t, n, 70)
}

func TestTwoLoopsOnOneRegistry(t *testing.T) {
	registry, _ := open(t)
	_, err := prometheus.New(prometheus.Config{Registerer: registry})
	require.ErrorContains(t, err, "register metrics")
	_, err = prometheus.New(prometheus.Config{Registerer: client.WrapRegistererWith(client.Labels{"loop": "b"}, registry)})
	require.Error(t, err, "series with and without the label do not go together")

	registry = client.NewRegistry()
	for _, loop := range []string{"a", "b"} {
		m, err := prometheus.New(prometheus.Config{Registerer: client.WrapRegistererWith(client.Labels{"loop": loop}, registry)})
		require.NoError(t, err)
		m.Launched("small", "", time.Second)
	}
	n, err := testutil.GatherAndCount(registry, "slipway_launches_total")
	require.NoError(t, err)
	require.Equal(t, 2, n)
}

func TestNamesFollowTheRules(t *testing.T) {
	registry, m := open(t)
	m.Launched("small", "", time.Second)
	m.Launched("small", "invalid", 0)
	m.Registered("small", time.Second)
	m.Ended("small", "stopped", "")
	m.Measured(provisioner.Levels{Runners: map[string]map[string]int{"small": {}}, LastPoll: time.Now(), LastList: time.Now()})
	problems, err := testutil.GatherAndLint(registry)
	require.NoError(t, err)
	require.Empty(t, problems)
}
