package prometheus

import (
	"maps"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/provisioner"
)

var (
	runners = desc("runners", "Runners now, by what they do.", "template", "state")
	inARow  = desc("launch_failures_in_a_row", "Launches of the template that failed in a row: what its back-off counts.", "template")
	pollAge = desc("poll_age_seconds", "Time since the last good poll.")
	listAge = desc("list_age_seconds", "Time since the backend was last seen.")
	waiting = desc("reports_waiting", "Reports that the control plane has not accepted yet.")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("slipway_"+name, help, labels, nil)
}

// states are told for every template, the empty ones as 0, so that a series does
// not end when its last runner does.
var states = []backend.State{
	backend.Starting, backend.Running, backend.Stopping, backend.Exited, backend.Failed, backend.Unknown,
}

// levels collects the last levels told. What they no longer hold, such as a
// template that was taken out, is no longer collected.
type levels struct {
	mu   sync.Mutex
	told bool
	last provisioner.Levels
}

func (l *levels) set(now provisioner.Levels) {
	own := now
	own.Backoff, own.Runners = maps.Clone(now.Backoff), map[string]map[string]int{}
	for template, counts := range now.Runners {
		own.Runners[template] = maps.Clone(counts)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last, l.told = own, true
}

// Describe is prometheus.Collector's.
func (l *levels) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{runners, inARow, pollAge, listAge, waiting} {
		descs <- d
	}
}

// Collect is prometheus.Collector's. What was set is never changed after, so it
// is read without the lock.
func (l *levels) Collect(metrics chan<- prometheus.Metric) {
	l.mu.Lock()
	last, told := l.last, l.told
	l.mu.Unlock()
	if !told {
		return
	}
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	for template, counts := range last.Runners {
		for _, state := range states {
			gauge(runners, float64(counts[string(state)]), template, string(state))
		}
		gauge(inARow, float64(last.Backoff[template]), template)
	}
	for d, at := range map[*prometheus.Desc]time.Time{pollAge: last.LastPoll, listAge: last.LastList} {
		if !at.IsZero() {
			gauge(d, max(0, time.Since(at).Seconds()))
		}
	}
	gauge(waiting, float64(last.Outbox))
}
