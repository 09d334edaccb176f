package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/hub/vault"
)

const jobColumns = `seq, id, name, label_set, run, command, env_names, timeout, retries, state, reason, attempt,
	exit_code, log_bytes, coalesce(reservation_id, ''), coalesce(runner_id, ''), coalesce(lease_id, ''),
	created_at, queued_at, started_at, finished_at, cancel_requested_at, coalesce(
		(SELECT provider_runner_id FROM runners r WHERE r.id = jobs.runner_id),
		(SELECT e.runner FROM job_events e WHERE jobs.runner_id IS NOT NULL AND e.job_id = jobs.id AND e.runner <> '' ORDER BY e.seq DESC LIMIT 1), '')`

func scanJob(r store.Row) (Job, error) {
	var (
		j                            Job
		labels, command, names       string
		timeout, created, queued     int64
		started, finished, cancelled *int64
	)
	err := r.Scan(&j.seq, &j.ID, &j.Name, &labels, &j.Run, &command, &names, &timeout, &j.Retries, &j.State, &j.Reason,
		&j.Attempt, &j.ExitCode, &j.LogBytes, &j.reservation, &j.Runner, &j.lease, &created, &queued, &started, &finished, &cancelled, &j.RunnerName)
	if err != nil {
		return j, err
	}
	j.Labels = splitLabels(labels)
	j.Timeout = time.Duration(timeout) * time.Millisecond
	j.CreatedAt, j.queuedAt = fromMillis(created), fromMillis(queued)
	j.StartedAt, j.FinishedAt, j.CancelRequestedAt = fromNullable(started), fromNullable(finished), fromNullable(cancelled)
	if err := json.Unmarshal([]byte(command), &j.Command); err != nil {
		return j, fmt.Errorf("queue: job %s: read command: %w", j.ID, err)
	}
	if err := json.Unmarshal([]byte(names), &j.EnvNames); err != nil {
		return j, fmt.Errorf("queue: job %s: read names of variables: %w", j.ID, err)
	}
	return j, nil
}

// Submit accepts a job: when it returns nil the job is on disk. Errors:
// InvalidError, ErrStorageFull, ErrKeyReused.
func (q *Queue) Submit(ctx context.Context, spec JobSpec) (Job, error) {
	spec, err := spec.normal(q.cfg)
	if err != nil {
		return Job{}, err
	}
	if q.cfg.StorageFull() {
		return Job{}, ErrStorageFull
	}
	id := newID()
	env, err := q.sealEnv(id, spec.Env)
	if err != nil {
		return Job{}, err
	}
	command, err := json.Marshal(spec.Command)
	if err != nil {
		return Job{}, fmt.Errorf("queue: submit job: %w", err)
	}
	names, err := json.Marshal(slices.Sorted(maps.Keys(spec.Env)))
	if err != nil {
		return Job{}, fmt.Errorf("queue: submit job: %w", err)
	}
	var job Job
	err = q.write(ctx, func(t *tx) error {
		var again bool
		if job, again, err = t.submitted(spec, id); err != nil || again {
			return err
		}
		now := millis(t.now)
		_, err := t.Exec(`INSERT INTO jobs (id, name, label_set, run, command, env, env_names, timeout, retries, state, created_at, queued_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'queued', ?, ?)`,
			id, spec.Name, joinLabels(spec.Labels), spec.Run, string(command), env, string(names),
			spec.Timeout.Milliseconds(), spec.Retries, now, now)
		if err != nil {
			return err
		}
		if err := t.event(id, StateQueued, 0, "", ""); err != nil {
			return err
		}
		if err := t.adoptIdle(); err != nil {
			return err
		}
		t.wake(topicDemand)
		job, err = t.job(id)
		return err
	})
	if err != nil {
		return Job{}, fmt.Errorf("queue: submit job: %w", err)
	}
	return job, nil
}

func (q *Queue) sealEnv(job string, env map[string]string) ([]byte, error) {
	if len(env) == 0 {
		return nil, nil
	}
	text, err := json.Marshal(env)
	if err != nil {
		return nil, fmt.Errorf("queue: job %s: seal environment: %w", job, err)
	}
	return q.vault.Seal(vault.JobEnv.Place(job), text), nil
}

func (q *Queue) openEnv(job string, sealed []byte) (env map[string]string, err error) {
	if len(sealed) == 0 {
		return nil, nil
	}
	text, err := q.vault.Open(vault.JobEnv.Place(job), sealed)
	if err == nil {
		err = json.Unmarshal(text, &env)
	}
	if err != nil {
		return nil, fmt.Errorf("queue: job %s: open environment: %w", job, err)
	}
	return env, nil
}

// Job returns one job, or ErrNotFound.
func (q *Queue) Job(ctx context.Context, id string) (job Job, err error) {
	err = q.read(ctx, func(t *tx) error {
		job, err = t.job(id)
		return err
	})
	return job, err
}

// JobFilter says which jobs to list. Zero fields don't filter.
type JobFilter struct {
	// States to list; empty: all.
	States []State
	// Labels that the jobs must ask for, canonical; jobs may ask for more.
	Labels []string
	// Name is a part of the jobs' names, in any case.
	Name string
	// Cursor is what the last list returned; empty: from the newest on.
	Cursor string
	// Limit is how many at most; default 50, at most 500.
	Limit int
}

// Jobs lists jobs, the newest first. next is the cursor for what follows, empty
// at the end. A bad cursor is an InvalidError.
func (q *Queue) Jobs(ctx context.Context, filter JobFilter) (jobs []Job, next string, err error) {
	limit := min(max(filter.Limit, 0), 500)
	if limit == 0 {
		limit = 50
	}
	before := int64(1<<63 - 1)
	if filter.Cursor != "" {
		if before, err = strconv.ParseInt(filter.Cursor, 36, 64); err != nil || before <= 0 {
			return nil, "", invalid("cursor", "is not one that a list returned")
		}
	}
	where, args := `WHERE seq < ?`, []any{before}
	if len(filter.States) > 0 {
		states, _ := json.Marshal(filter.States)
		where += ` AND state IN (SELECT value FROM json_each(?))`
		args = append(args, string(states))
	}
	for _, label := range filter.Labels {
		where += ` AND instr(',' || label_set || ',', ?) > 0`
		args = append(args, ","+label+",")
	}
	if filter.Name != "" {
		where += ` AND instr(lower(name), lower(?)) > 0`
		args = append(args, filter.Name)
	}
	err = q.read(ctx, func(t *tx) error {
		jobs, err = store.All(t.Tx, scanJob, `SELECT `+jobColumns+` FROM jobs `+where+` ORDER BY seq DESC LIMIT ?`, append(args, limit+1)...)
		return err
	})
	if err != nil {
		return nil, "", fmt.Errorf("queue: list jobs: %w", err)
	}
	if len(jobs) > limit {
		jobs = jobs[:limit]
		next = strconv.FormatInt(jobs[limit-1].seq, 36)
	}
	return jobs, next, nil
}

// JobEvents returns a job's history after the event with number after (0: all
// of it). An unknown job has none.
func (q *Queue) JobEvents(ctx context.Context, id string, after int64) (events []JobEvent, err error) {
	err = q.read(ctx, func(t *tx) error {
		events, err = store.All(t.Tx, scanEvent,
			`SELECT seq, job_id, at, state, attempt, runner, reason FROM job_events WHERE job_id = ? AND seq > ? ORDER BY seq`, id, after)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("queue: list events of job %s: %w", id, err)
	}
	return events, nil
}

func scanEvent(r store.Row) (e JobEvent, err error) {
	var at int64
	err = r.Scan(&e.Seq, &e.JobID, &at, &e.State, &e.Attempt, &e.Runner, &e.Reason)
	e.At = fromMillis(at)
	return e, err
}

// PruneJobs deletes up to limit finished jobs (their events and leases with
// them) that finished before the time, oldest first, and returns their ids.
func (q *Queue) PruneJobs(ctx context.Context, before time.Time, limit int) (ids []string, err error) {
	err = q.write(ctx, func(t *tx) error {
		ids, err = store.All(t.Tx, store.Value[string],
			`SELECT id FROM jobs WHERE finished_at < ? ORDER BY finished_at LIMIT ?`, millis(before), limit)
		for _, id := range ids {
			if _, err := t.Exec(`DELETE FROM jobs WHERE id = ?`, id); err != nil {
				return err
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("queue: prune jobs: %w", err)
	}
	return ids, nil
}

// PruneEvents deletes up to limit events of finished jobs from before the time.
func (q *Queue) PruneEvents(ctx context.Context, before time.Time, limit int) (n int64, err error) {
	err = q.write(ctx, func(t *tx) error {
		n, err = t.Exec(`DELETE FROM job_events WHERE seq IN (
			SELECT e.seq FROM job_events e JOIN jobs j ON j.id = e.job_id
			WHERE e.at < ? AND j.finished_at IS NOT NULL ORDER BY e.at LIMIT ?)`, millis(before), limit)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("queue: prune events: %w", err)
	}
	return n, nil
}

func (t *tx) job(id string) (Job, error) {
	job, found, err := store.One(t.Tx, scanJob, `SELECT `+jobColumns+` FROM jobs WHERE id = ?`, id)
	if err == nil && !found {
		err = ErrNotFound
	}
	return job, err
}

// event adds to a job's history and wakes who watches it. It has the runner as its
// provisioner names it, where that is known.
func (t *tx) event(job string, state State, attempt int, runner, reason string) error {
	_, err := t.Exec(`INSERT INTO job_events (job_id, at, state, attempt, runner, reason)
		VALUES (?, ?, ?, ?, coalesce((SELECT provider_runner_id FROM runners WHERE id = ?), ?), ?)`,
		job, millis(t.now), state, attempt, runner, runner, reason)
	t.wake(TopicJobs, TopicJob(job))
	return err
}
