package queue

import (
	"context"
	"fmt"
)

// Cancel asks for a job's end. One that waits ends at once; one that runs is told
// through its runner's next heartbeat, and its provisioner is asked to end the
// runner. A job that has ended stays as it is. ErrNotFound: there is none.
func (q *Queue) Cancel(ctx context.Context, id string) (job Job, err error) {
	err = q.write(ctx, func(t *tx) error {
		if job, err = t.job(id); err != nil || job.State.Final() {
			return err
		}
		if err := t.cancel(job); err != nil {
			return err
		}
		job, err = t.job(id)
		return err
	})
	if err != nil {
		return Job{}, fmt.Errorf("queue: cancel job: %w", err)
	}
	return job, nil
}

func (t *tx) cancel(job Job) error {
	_, err := t.Exec(`UPDATE jobs SET cancel_requested_at = coalesce(cancel_requested_at, ?) WHERE id = ?`, millis(t.now), job.ID)
	if err != nil {
		return err
	}
	if job.State != StateRunning {
		if err := t.finish(job, StateCancelled, "", nil, 0); err != nil {
			return err
		}
		return t.vacated(job)
	}
	t.wake(TopicJobs, TopicJob(job.ID))
	if job.Runner == "" {
		return nil
	}
	r, found, err := t.runner(job.Runner)
	if err != nil || !found || r.ended() {
		return err
	}
	return t.unwant(r, intentCancelled)
}
