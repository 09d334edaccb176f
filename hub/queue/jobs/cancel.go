package jobs

import (
	"context"
	"fmt"

	"github.com/slipway-ci/slipway/hub/queue/ledger"
)

// Cancel asks for a job's end. One that waits ends at once; one that runs is told
// through its runner's next heartbeat, and its provisioner is asked to end the
// runner. A job that has ended stays as it is. ErrNotFound: there is none.
func (j *Jobs) Cancel(ctx context.Context, id string) (job ledger.Job, err error) {
	err = j.ledger.Write(ctx, func(t *ledger.Tx) error {
		if job, err = t.Job(id); err != nil || job.State.Final() {
			return err
		}
		if err := cancel(t, job); err != nil {
			return err
		}
		job, err = t.Job(id)
		return err
	})
	if err != nil {
		return ledger.Job{}, fmt.Errorf("queue: cancel job: %w", err)
	}
	return job, nil
}

func cancel(t *ledger.Tx, job ledger.Job) error {
	if err := t.RequestCancel(job); err != nil {
		return err
	}
	if job.State != ledger.StateRunning {
		if err := t.Finish(job, ledger.StateCancelled, "", nil, 0); err != nil {
			return err
		}
		return t.Vacated(job)
	}
	t.Wake(ledger.TopicJobs, ledger.TopicJob(job.ID))
	if job.Runner == "" {
		return nil
	}
	r, found, err := t.Runner(job.Runner)
	if err != nil || !found || r.Ended() {
		return err
	}
	return t.Unwant(r, ledger.IntentCancelled)
}
