package ledger

import (
	"time"
)

// The moves of a job between its states. Each writes the job and its history.

// Reserve promises a queued job to a reservation.
func (t *Tx) Reserve(job Job, reservation string, until time.Time) error {
	_, err := t.Exec(`UPDATE jobs SET state = 'reserved', reason = '', reservation_id = ?, reserved_until = ?, runner_id = NULL WHERE id = ?`,
		reservation, Millis(until), job.ID)
	if err != nil {
		return err
	}
	return t.AddEvent(job.ID, StateReserved, job.Attempt, "", "")
}

// Meant says which runner a reserved job is for.
func (t *Tx) Meant(job, runner string) error {
	_, err := t.Exec(`UPDATE jobs SET runner_id = ? WHERE id = ?`, runner, job)
	return err
}

// Launched moves the jobs that are meant for a runner on, now that it was started.
func (t *Tx) Launched(runner string) error {
	jobs, err := t.JobsWhere(`runner_id = ? AND state = 'reserved'`, runner)
	if err != nil {
		return err
	}
	for _, job := range jobs {
		if _, err := t.Exec(`UPDATE jobs SET state = 'launched' WHERE id = ?`, job.ID); err != nil {
			return err
		}
		if err := t.AddEvent(job.ID, StateLaunched, job.Attempt, runner, ""); err != nil {
			return err
		}
	}
	return nil
}

// Requeue makes a job free to grant again, at its old place.
func (t *Tx) Requeue(job Job, reason string) error {
	_, err := t.Exec(`UPDATE jobs SET state = 'queued', reason = ?, reservation_id = NULL, reserved_until = NULL,
		runner_id = NULL, lease_id = NULL, started_at = NULL WHERE id = ?`, reason, job.ID)
	if err != nil {
		return err
	}
	t.Wake(TopicDemand)
	return t.AddEvent(job.ID, StateQueued, job.Attempt, job.Runner, reason)
}

// RequeueOf puts back the jobs that wait for a runner which will not claim them.
func (t *Tx) RequeueOf(runner, reason string) error {
	jobs, err := t.MeantFor(runner)
	if err != nil {
		return err
	}
	for _, job := range jobs {
		if err := t.Requeue(job, reason); err != nil {
			return err
		}
	}
	if len(jobs) > 0 {
		return t.AdoptIdle()
	}
	return nil
}

// MeantFor lists the jobs that wait for a runner to claim them.
func (t *Tx) MeantFor(runner string) ([]Job, error) {
	return t.JobsWhere(`runner_id = ? AND state IN ('reserved', 'launched') ORDER BY seq`, runner)
}

// start gives a job to a lease.
func (t *Tx) start(job Job, lease, runner string) error {
	_, err := t.Exec(`UPDATE jobs SET state = 'running', reason = '', attempt = attempt + 1, lease_id = ?, runner_id = ?,
		reservation_id = NULL, reserved_until = NULL, started_at = ?, exit_code = NULL, log_bytes = 0 WHERE id = ?`,
		lease, runner, Millis(t.Now), job.ID)
	if err != nil {
		return err
	}
	return t.AddEvent(job.ID, StateRunning, job.Attempt+1, runner, "")
}

// Finish ends a job for good.
func (t *Tx) Finish(job Job, state State, reason string, exit *int, logBytes int64) error {
	_, err := t.Exec(`UPDATE jobs SET state = ?, reason = ?, exit_code = ?, log_bytes = ?, finished_at = ?,
		reservation_id = NULL, reserved_until = NULL WHERE id = ?`,
		state, reason, exit, logBytes, Millis(t.Now), job.ID)
	if err != nil {
		return err
	}
	return t.AddEvent(job.ID, state, job.Attempt, job.Runner, reason)
}

// RequestCancel notes that a job is to end. Whoever runs it is told so with the next
// renewal.
func (t *Tx) RequestCancel(job Job) error {
	_, err := t.Exec(`UPDATE jobs SET cancel_requested_at = coalesce(cancel_requested_at, ?) WHERE id = ?`, Millis(t.Now), job.ID)
	if job.Lease != "" {
		t.After(func() { t.ledger.Book.Cancel(job.Lease) })
	}
	return err
}
