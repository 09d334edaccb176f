package queue

import (
	"time"

	"github.com/slipway-ci/slipway/hub/store"
)

// The moves of a job between its states. Each writes the job and its history.

// reserve promises a queued job to a reservation.
func (t *tx) reserve(job Job, reservation string, until time.Time) error {
	_, err := t.Exec(`UPDATE jobs SET state = 'reserved', reason = '', reservation_id = ?, reserved_until = ?, runner_id = NULL WHERE id = ?`,
		reservation, millis(until), job.ID)
	if err != nil {
		return err
	}
	return t.event(job.ID, StateReserved, job.Attempt, "", "")
}

// meant says which runner a reserved job is for.
func (t *tx) meant(job, runner string) error {
	_, err := t.Exec(`UPDATE jobs SET runner_id = ? WHERE id = ?`, runner, job)
	return err
}

// launched moves the jobs that are meant for a runner on, now that it was started.
func (t *tx) launched(runner string) error {
	jobs, err := store.All(t.Tx, scanJob, `SELECT `+jobColumns+` FROM jobs WHERE runner_id = ? AND state = 'reserved'`, runner)
	if err != nil {
		return err
	}
	for _, job := range jobs {
		if _, err := t.Exec(`UPDATE jobs SET state = 'launched' WHERE id = ?`, job.ID); err != nil {
			return err
		}
		if err := t.event(job.ID, StateLaunched, job.Attempt, runner, ""); err != nil {
			return err
		}
	}
	return nil
}

// requeue makes a job free to grant again, at its old place.
func (t *tx) requeue(job Job, reason string) error {
	_, err := t.Exec(`UPDATE jobs SET state = 'queued', reason = ?, reservation_id = NULL, reserved_until = NULL,
		runner_id = NULL, lease_id = NULL, started_at = NULL WHERE id = ?`, reason, job.ID)
	if err != nil {
		return err
	}
	t.wake(topicDemand)
	return t.event(job.ID, StateQueued, job.Attempt, job.Runner, reason)
}

// requeueOf puts back the jobs that wait for a runner which will not claim them.
func (t *tx) requeueOf(runner, reason string) error {
	jobs, err := t.meantFor(runner)
	if err != nil {
		return err
	}
	for _, job := range jobs {
		if err := t.requeue(job, reason); err != nil {
			return err
		}
	}
	if len(jobs) > 0 {
		return t.adoptIdle()
	}
	return nil
}

// meantFor lists the jobs that wait for a runner to claim them.
func (t *tx) meantFor(runner string) ([]Job, error) {
	return store.All(t.Tx, scanJob,
		`SELECT `+jobColumns+` FROM jobs WHERE runner_id = ? AND state IN ('reserved', 'launched') ORDER BY seq`, runner)
}

// start gives a job to a lease.
func (t *tx) start(job Job, lease, runner string) error {
	_, err := t.Exec(`UPDATE jobs SET state = 'running', reason = '', attempt = attempt + 1, lease_id = ?, runner_id = ?,
		reservation_id = NULL, reserved_until = NULL, started_at = ?, exit_code = NULL, log_bytes = 0 WHERE id = ?`,
		lease, runner, millis(t.now), job.ID)
	if err != nil {
		return err
	}
	return t.event(job.ID, StateRunning, job.Attempt+1, runner, "")
}

// finish ends a job for good.
func (t *tx) finish(job Job, state State, reason string, exit *int, logBytes int64) error {
	_, err := t.Exec(`UPDATE jobs SET state = ?, reason = ?, exit_code = ?, log_bytes = ?, finished_at = ?,
		reservation_id = NULL, reserved_until = NULL WHERE id = ?`,
		state, reason, exit, logBytes, millis(t.now), job.ID)
	if err != nil {
		return err
	}
	return t.event(job.ID, state, job.Attempt, job.Runner, reason)
}
