package prometheus

import (
	"fmt"
	"regexp"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/slipway-ci/slipway/provisioner"
)

var _ provisioner.Metrics = (*Metrics)(nil)

// Config says where to register. The zero value serves.
type Config struct {
	// Registerer takes the metrics; default prometheus.DefaultRegisterer. Two
	// loops on one registry need prometheus.WrapRegistererWith around it, with a
	// label that tells them apart.
	Registerer prometheus.Registerer
}

// Metrics implements provisioner.Metrics. Its methods may be called from many
// goroutines at once and return at once.
type Metrics struct {
	launches, failures, ended *prometheus.CounterVec
	launched, registered      *prometheus.HistogramVec
	levels                    levels

	mu      sync.Mutex
	reasons map[string]bool
}

// New makes the metrics and registers them. It errs when something of the same
// name is registered already.
func New(config Config) (*Metrics, error) {
	if config.Registerer == nil {
		config.Registerer = prometheus.DefaultRegisterer
	}
	m := &Metrics{
		launches:   counter("launches_total", "Runners launched.", "template"),
		failures:   counter("launch_failures_total", "Launches that failed.", "template", "reason"),
		ended:      counter("runners_ended_total", "Runners that ended.", "template", "state", "reason"),
		launched:   histogram("launch_seconds", "Time from the mint to the engine's answer, of good launches."),
		registered: histogram("registration_seconds", "Time from a runner's birth until the control plane knew it."),
		reasons:    map[string]bool{},
	}
	all := []prometheus.Collector{m.launches, m.failures, m.ended, m.launched, m.registered, &m.levels}
	for i, c := range all {
		if err := config.Registerer.Register(c); err != nil {
			for _, done := range all[:i] {
				config.Registerer.Unregister(done)
			}
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "slipway", Name: name, Help: help}, labels)
}

func histogram(name, help string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "slipway", Name: name, Help: help,
		Buckets: []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300},
	}, []string{"template"})
}

// Launched is provisioner.Metrics'.
func (m *Metrics) Launched(template, reason string, took time.Duration) {
	if reason != "" {
		m.failures.WithLabelValues(template, m.word(reason)).Inc()
		return
	}
	m.launches.WithLabelValues(template).Inc()
	m.launched.WithLabelValues(template).Observe(took.Seconds())
}

// Registered is provisioner.Metrics'.
func (m *Metrics) Registered(template string, took time.Duration) {
	m.registered.WithLabelValues(template).Observe(took.Seconds())
}

// Ended is provisioner.Metrics'.
func (m *Metrics) Ended(template, state, reason string) {
	m.ended.WithLabelValues(template, state, m.word(reason)).Inc()
}

// Measured is provisioner.Metrics'.
func (m *Metrics) Measured(now provisioner.Levels) { m.levels.set(now) }

var isWord = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)

// maxReasons is how many reasons become label values; the loop has fewer.
const maxReasons = 64

// word bounds the reasons, some of which come from control planes: what is no
// word, or one too many, is "other".
func (m *Metrics) word(reason string) string {
	if reason == "" {
		return ""
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.reasons[reason]:
		return reason
	case len(m.reasons) >= maxReasons || !isWord.MatchString(reason):
		return "other"
	}
	m.reasons[reason] = true
	return reason
}
