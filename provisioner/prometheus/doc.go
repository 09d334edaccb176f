// Package prometheus tells the loop's measurements to Prometheus.
//
//	slipway_launches_total{template}                       runners launched
//	slipway_launch_failures_total{template,reason}         launches that failed
//	slipway_launch_seconds{template}                       from the mint to the engine's answer
//	slipway_registration_seconds{template}                 from a runner's birth until the control plane knew it
//	slipway_runners_ended_total{template,state,reason}     state is stopped, failed or terminated
//	slipway_runners{template,state}                        runners now, by what they do
//	slipway_launch_failures_in_a_row{template}             what the back-off counts; 0 when all is well
//	slipway_poll_age_seconds                               since the last good poll; absent before the first
//	slipway_list_age_seconds                               since the backend was last seen; absent before the first
//	slipway_reports_waiting                                reports that the control plane has not accepted yet
//
// No label names a runner, a job or a host: the number of series is bounded by
// the templates.
package prometheus
