package dispatch

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/slipway-ci/slipway/hub/queue/ledger"
	"github.com/slipway-ci/slipway/hub/store"
)

// RunnerEnd is what became of a runner so far, as its provisioner reported it and
// as the queue saw it.
type RunnerEnd struct {
	// State was reported last; starting before the first report.
	State ledger.RunnerState
	// Reason goes with State. Of what a loop reports the part before a colon is a
	// word (registration-deadline, exit-code, max-lifetime), the rest is for people.
	// May be empty.
	Reason string
	// EndedAt is when the queue learned of the end, by the hub's clock; zero: not yet.
	EndedAt time.Time
	// Registered: it introduced itself here. One that ended without having done so
	// could not start its program, or could not reach the hub.
	Registered bool
	// Job is the one that it has or had last; empty: it never had one.
	Job string
}

// RunnerEnds tells what became of runners, by the ids that their provisioners know
// them by. Those that the queue does not know are left out, and so are those that
// ended a day ago or more: it has forgotten them.
func (d *Dispatcher) RunnerEnds(ctx context.Context, runners []string) (map[string]RunnerEnd, error) {
	ids, err := json.Marshal(runners)
	if err != nil {
		return nil, fmt.Errorf("queue: ends of runners: %w", err)
	}
	ends := make(map[string]RunnerEnd, len(runners))
	err = d.ledger.Read(ctx, func(t *ledger.Tx) error {
		// By provisioner, since that is how runners are indexed; there are few.
		_, err := store.All(t.Tx, func(row store.Row) (_ struct{}, err error) {
			var (
				id    string
				end   RunnerEnd
				ended *int64
			)
			err = row.Scan(&id, &end.State, &end.Reason, &ended, &end.Registered, &end.Job)
			end.EndedAt = ledger.FromNullable(ended)
			ends[id] = end
			return struct{}{}, err
		}, `SELECT r.provider_runner_id, r.state, r.reason, r.ended_at, r.enrolled_at IS NOT NULL OR r.session_id IS NOT NULL,
			coalesce((SELECT l.job_id FROM leases l WHERE l.runner_id = r.id ORDER BY l.id DESC LIMIT 1), '')
			FROM json_each(?) j CROSS JOIN provisioners p
			CROSS JOIN runners r ON r.provisioner_id = p.id AND r.provider_runner_id = j.value`, string(ids))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("queue: ends of runners: %w", err)
	}
	return ends, nil
}

// JobsOf tells which job each of the runners has or had last, by the ids that
// their provisioners know them by. Those without one are left out.
func (d *Dispatcher) JobsOf(ctx context.Context, runners []string) (map[string]string, error) {
	ids, err := json.Marshal(runners)
	if err != nil {
		return nil, fmt.Errorf("queue: jobs of runners: %w", err)
	}
	jobs := map[string]string{}
	err = d.ledger.Read(ctx, func(t *ledger.Tx) error {
		// By provisioner, since that is how runners are indexed; there are few.
		_, err := store.All(t.Tx, func(row store.Row) (_ struct{}, err error) {
			var runner, job string
			err = row.Scan(&runner, &job)
			jobs[runner] = job
			return struct{}{}, err
		}, `SELECT r.provider_runner_id, l.job_id FROM json_each(?) j CROSS JOIN provisioners p
			CROSS JOIN runners r ON r.provisioner_id = p.id AND r.provider_runner_id = j.value
			CROSS JOIN leases l ON l.runner_id = r.id ORDER BY l.id`, string(ids))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("queue: jobs of runners: %w", err)
	}
	return jobs, nil
}
