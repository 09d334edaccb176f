package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/slipway-ci/slipway/hub/queue/ledger"
	"github.com/slipway-ci/slipway/hub/store"
)

// Job returns one job, or ErrNotFound.
func (j *Jobs) Job(ctx context.Context, id string) (job ledger.Job, err error) {
	err = j.ledger.Read(ctx, func(t *ledger.Tx) error {
		job, err = t.Job(id)
		return err
	})
	return job, err
}

// Filter says which jobs to list. Zero fields don't filter.
type Filter struct {
	// States to list; empty: all.
	States []ledger.State
	// Labels that the jobs must ask for, canonical; jobs may ask for more.
	Labels []string
	// Name is a part of the jobs' names; A to Z in any case.
	Name string
	// Cursor is what the last list returned; empty: from the newest on.
	Cursor string
	// Limit is how many at most; default 50, at most 500.
	Limit int
}

// Jobs lists jobs, the newest first, without what they run and the names of their
// variables: those may be long. next is the cursor for what follows, empty
// at the end. A bad cursor is an InvalidError.
func (j *Jobs) Jobs(ctx context.Context, filter Filter) (jobs []ledger.Job, next string, err error) {
	limit := min(max(filter.Limit, 0), 500)
	if limit == 0 {
		limit = 50
	}
	before := int64(1<<63 - 1)
	if filter.Cursor != "" {
		if before, err = strconv.ParseInt(filter.Cursor, 36, 64); err != nil || before <= 0 {
			return nil, "", ledger.Invalid("cursor", "is not one that a list returned")
		}
	}
	where, args := `seq < ?`, []any{before}
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
	err = j.ledger.Read(ctx, func(t *ledger.Tx) error {
		jobs, err = t.JobsWhere(where+` ORDER BY seq DESC LIMIT ?`, append(args, limit+1)...)
		return err
	})
	if err != nil {
		return nil, "", fmt.Errorf("queue: list jobs: %w", err)
	}
	if len(jobs) > limit {
		jobs = jobs[:limit]
		next = strconv.FormatInt(jobs[limit-1].Seq, 36)
	}
	return jobs, next, nil
}

// JobEvents returns a job's history after the event with number after (0: all
// of it). An unknown job has none.
func (j *Jobs) JobEvents(ctx context.Context, id string, after int64) (events []ledger.JobEvent, err error) {
	err = j.ledger.Read(ctx, func(t *ledger.Tx) error {
		events, err = store.All(t.Tx, scanEvent,
			`SELECT seq, job_id, at, state, attempt, runner, reason FROM job_events WHERE job_id = ? AND seq > ? ORDER BY seq`, id, after)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("queue: list events of job %s: %w", id, err)
	}
	return events, nil
}

func scanEvent(r store.Row) (e ledger.JobEvent, err error) {
	var at int64
	err = r.Scan(&e.Seq, &e.JobID, &at, &e.State, &e.Attempt, &e.Runner, &e.Reason)
	e.At = ledger.FromMillis(at)
	return e, err
}
