package ledger

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/slipway-ci/slipway/hub/store"
)

// wholeJob are the columns of what a job runs, which may be long, and plainJob what
// stands for them where nobody asks for that.
const (
	wholeJob = `run, command, env_names`
	plainJob = `'', 'null', 'null'`
)

// jobQuery finds jobs, with one of those.
func jobQuery(work string) string {
	return `SELECT seq, id, name, label_set, ` + work + `, timeout, retries, state, reason, attempt,
	exit_code, log_bytes, coalesce(reservation_id, ''), coalesce(runner_id, ''), coalesce(lease_id, ''),
	created_at, queued_at, started_at, finished_at, cancel_requested_at, coalesce(
		(SELECT provider_runner_id FROM runners r WHERE r.id = jobs.runner_id),
		(SELECT e.runner FROM job_events e WHERE jobs.runner_id IS NOT NULL AND e.job_id = jobs.id AND e.runner <> '' ORDER BY e.seq DESC LIMIT 1), '')
	FROM jobs WHERE `
}

func scanJob(r store.Row) (Job, error) {
	var (
		j                            Job
		labels, command, names       string
		timeout, created, queued     int64
		started, finished, cancelled *int64
	)
	err := r.Scan(&j.Seq, &j.ID, &j.Name, &labels, &j.Run, &command, &names, &timeout, &j.Retries, &j.State, &j.Reason,
		&j.Attempt, &j.ExitCode, &j.LogBytes, &j.Reservation, &j.Runner, &j.Lease, &created, &queued, &started, &finished, &cancelled, &j.RunnerName)
	if err != nil {
		return j, err
	}
	j.Labels = SplitLabels(labels)
	j.Timeout = time.Duration(timeout) * time.Millisecond
	j.CreatedAt, j.QueuedAt = FromMillis(created), FromMillis(queued)
	j.StartedAt, j.FinishedAt, j.CancelRequestedAt = FromNullable(started), FromNullable(finished), FromNullable(cancelled)
	if err := json.Unmarshal([]byte(command), &j.Command); err != nil {
		return j, fmt.Errorf("queue: job %s: read command: %w", j.ID, err)
	}
	if err := json.Unmarshal([]byte(names), &j.EnvNames); err != nil {
		return j, fmt.Errorf("queue: job %s: read names of variables: %w", j.ID, err)
	}
	return j, nil
}

// JobsWhere finds jobs, without Run, Command and EnvNames; ORDER BY and LIMIT may
// follow the condition.
func (t *Tx) JobsWhere(where string, args ...any) ([]Job, error) {
	return store.All(t.Tx, scanJob, jobQuery(plainJob)+where, args...)
}

// JobWhere finds the first of them.
func (t *Tx) JobWhere(where string, args ...any) (Job, bool, error) {
	return store.One(t.Tx, scanJob, jobQuery(plainJob)+where, args...)
}

// Job finds a job by its id, all of it, or says ErrNotFound.
func (t *Tx) Job(id string) (Job, error) {
	job, found, err := store.One(t.Tx, scanJob, jobQuery(wholeJob)+`id = ?`, id)
	if err == nil && !found {
		err = ErrNotFound
	}
	return job, err
}

// AddEvent adds to a job's history and wakes who watches it. It has the runner as its
// provisioner names it, where that is known.
func (t *Tx) AddEvent(job string, state State, attempt int, runner, reason string) error {
	_, err := t.Exec(`INSERT INTO job_events (job_id, at, state, attempt, runner, reason)
		VALUES (?, ?, ?, ?, coalesce((SELECT provider_runner_id FROM runners WHERE id = ?), ?), ?)`,
		job, Millis(t.Now), state, attempt, runner, runner, reason)
	t.Wake(TopicJobs, TopicJob(job))
	return err
}
