package agentd

import prom "github.com/prometheus/client_golang/prometheus"

// collector tells what the agent knows when it is asked.
type collector struct{ agent *program }

var (
	metricInfo      = prom.NewDesc("slipway_agent_info", "Always 1; the label is the version.", []string{"version"}, nil)
	metricConnected = prom.NewDesc("slipway_agent_connected", "1 while there is a session with the hub.", nil, nil)
	metricSessions  = prom.NewDesc("slipway_agent_sessions_total", "Sessions that the hub has let in.", nil, nil)
	metricEngine    = prom.NewDesc("slipway_agent_engine_up", "1 while the engine can be seen.", nil, nil)
	metricRunners   = prom.NewDesc("slipway_agent_runners", "Runners of this agent, as seen last.", []string{"state"}, nil)
	metricLaunches  = prom.NewDesc("slipway_agent_launches_total", "Launches by how they ended.", []string{"outcome"}, nil)
)

// Describe implements prometheus.Collector.
func (c collector) Describe(to chan<- *prom.Desc) {
	for _, d := range []*prom.Desc{metricInfo, metricConnected, metricSessions, metricEngine, metricRunners, metricLaunches} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(to chan<- prom.Metric) {
	now := c.agent.report()
	flag := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	to <- prom.MustNewConstMetric(metricInfo, prom.GaugeValue, 1, now.Version)
	to <- prom.MustNewConstMetric(metricConnected, prom.GaugeValue, flag(now.Connected))
	to <- prom.MustNewConstMetric(metricSessions, prom.CounterValue, float64(now.Sessions))
	to <- prom.MustNewConstMetric(metricEngine, prom.GaugeValue, flag(now.EngineProblem == ""))
	for state, n := range now.Runners {
		to <- prom.MustNewConstMetric(metricRunners, prom.GaugeValue, float64(n), string(state))
	}
	for how, n := range c.agent.engine.Launches() {
		to <- prom.MustNewConstMetric(metricLaunches, prom.CounterValue, float64(n), how)
	}
}
