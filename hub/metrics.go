package hub

import (
	"context"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"
	prom "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/slipway-ci/slipway/provisioner"
	"github.com/slipway-ci/slipway/provisioner/prometheus"
)

// metrics are what GET /metrics tells. No label names a runner, a job or a secret.
type metrics struct{ registry *prom.Registry }

func newMetrics() *metrics {
	m := &metrics{registry: prom.NewRegistry()}
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// loop is the metrics of the loop of one control plane.
func (m *metrics) loop(plane string) (provisioner.Metrics, error) {
	return prometheus.New(prometheus.Config{Registerer: prom.WrapRegistererWith(prom.Labels{"control_plane": plane}, m.registry)})
}

func (m *metrics) handler(log hclog.Logger) http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorLog: log.StandardLogger(nil), Registry: m.registry, MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
}

var (
	jobsDesc    = prom.NewDesc("slipway_jobs", "Jobs of the queue that have not ended, by what they do.", []string{"state"}, nil)
	oldestDesc  = prom.NewDesc("slipway_jobs_oldest_queued_seconds", "How long the oldest waiting job has been waiting.", nil, nil)
	hostsDesc   = prom.NewDesc("slipway_hosts", "Hosts, by how they do.", []string{"state"}, nil)
	heldDesc    = prom.NewDesc("slipway_host_runners", "Runners that take up room on a host.", []string{"host"}, nil)
	capDesc     = prom.NewDesc("slipway_host_cap", "How many runners a host may hold.", []string{"host"}, nil)
	backingDesc = prom.NewDesc("slipway_host_backing_off", "Kinds of runners that wait on a host after failures.", []string{"host"}, nil)
	crashesDesc = prom.NewDesc("slipway_scale_set_crashes_in_a_row", "Runners of a scale set that came to nothing, one after the other.", []string{"scale_set"}, nil)
)

// levels reads what the hub holds when it is asked.
type levels struct{ hub *Hub }

func (l levels) Describe(to chan<- *prom.Desc) {
	for _, d := range []*prom.Desc{jobsDesc, oldestDesc, hostsDesc, heldDesc, capDesc, backingDesc, crashesDesc} {
		to <- d
	}
}

func (l levels) Collect(to chan<- prom.Metric) {
	tell := func(d *prom.Desc, value float64, labels ...string) {
		to <- prom.MustNewConstMetric(d, prom.GaugeValue, value, labels...)
	}
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	depth, err := l.hub.queue.Depth(ctx)
	if err != nil {
		to <- prom.NewInvalidMetric(jobsDesc, err)
		return
	}
	tell(jobsDesc, float64(depth.Queued), "queued")
	tell(jobsDesc, float64(depth.Reserved), "reserved")
	tell(jobsDesc, float64(depth.Running), "running")
	tell(oldestDesc, depth.Oldest.Seconds())
	counts := map[string]int{"ready": 0, "online": 0, "offline": 0, "lost": 0, "cordoned": 0, "needs-update": 0}
	for _, host := range l.hub.compute.fleet.Hosts() {
		for state, holds := range map[string]bool{
			"ready": host.Ready, "online": host.Online, "offline": !host.Online && !host.Lost, "lost": host.Lost,
			"cordoned": host.Cordoned, "needs-update": host.NeedsUpdate,
		} {
			if holds {
				counts[state]++
			}
		}
		tell(heldDesc, float64(host.Held), host.Name)
		tell(capDesc, float64(host.Cap), host.Name)
		tell(backingDesc, float64(len(host.BackingOff)), host.Name)
	}
	for state, n := range counts {
		tell(hostsDesc, float64(n), state)
	}
	crashes := map[string]int{} // one that has changed its control plane is known to two loops
	for _, loop := range l.hub.compute.loops {
		for _, t := range loop.Health().Templates {
			crashes[t.Template] = max(crashes[t.Template], t.Ends.Row.Count)
		}
	}
	for set, n := range crashes {
		tell(crashesDesc, float64(n), set)
	}
}
