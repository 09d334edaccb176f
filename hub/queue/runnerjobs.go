package queue

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/slipway-ci/slipway/hub/store"
)

// JobsOf tells which job each of the runners has or had last, by the ids that
// their provisioners know them by. Those without one are left out.
func (q *Queue) JobsOf(ctx context.Context, runners []string) (map[string]string, error) {
	ids, err := json.Marshal(runners)
	if err != nil {
		return nil, fmt.Errorf("queue: jobs of runners: %w", err)
	}
	jobs := map[string]string{}
	err = q.read(ctx, func(t *tx) error {
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
