package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// waitSeconds is how long the hub is asked to wait for a job's end at a time.
const waitSeconds = 30

// Final says whether the job has ended.
func (j JobSummary) Final() bool { return j.FinishedAt != nil }

// Succeeded says whether it ended well.
func (j JobSummary) Succeeded() bool { return j.Status == "succeeded" }

// Submit submits a job: when it returns nil the job is on the hub's disk. With a
// key, the same spec submitted again is the same job; key may be empty.
func (c *Client) Submit(ctx context.Context, spec JobSpec, key string) (job Job, err error) {
	var headers []string
	if key != "" {
		headers = []string{"Idempotency-Key", key}
	}
	return job, c.call(ctx, http.MethodPost, "jobs", nil, spec, &job, headers...)
}

// Filter says which jobs to list. Zero fields don't filter.
type Filter struct {
	// Statuses: any of these.
	Statuses []string
	// Labels: all of these; jobs may ask for more.
	Labels []string
	// Name is a part of the name; A to Z in any case.
	Name string
	// Limit is how many at most; default 50, at most 500.
	Limit int
	// Cursor is Jobs's next of before; empty: from the newest on.
	Cursor string
}

// Jobs lists jobs, the newest first. next is empty at the end. What a job runs is
// told by Job alone.
func (c *Client) Jobs(ctx context.Context, f Filter) (jobs []JobSummary, next string, err error) {
	q := paged(f.Limit, f.Cursor)
	set(q, "name", f.Name)
	for name, list := range map[string][]string{"status": f.Statuses, "label": f.Labels} {
		for _, value := range list {
			q.Add(name, value)
		}
	}
	return fetch[JobSummary](ctx, c, "jobs", q)
}

// Job returns one job. ErrNotFound: there is none.
func (c *Client) Job(ctx context.Context, id string) (Job, error) {
	return get[Job](ctx, c, "jobs", id)
}

// JobEvents lists what became of a job, the oldest first.
func (c *Client) JobEvents(ctx context.Context, id string) ([]JobEvent, error) {
	p, err := get[page[JobEvent]](ctx, c, "jobs", id, "events")
	return p.Items, err
}

// Cancel asks for a job's end and returns it as it is then: one that runs ends
// later. A job that has ended stays as it is.
func (c *Client) Cancel(ctx context.Context, id string) (Job, error) {
	return do[Job](ctx, c, http.MethodPost, []string{"jobs", id, "cancel"}, nil)
}

// Wait returns the job when it has ended. While the hub can't be reached, a
// restart for instance, it tries again, until ctx ends.
func (c *Client) Wait(ctx context.Context, id string) (Job, error) {
	query := url.Values{"wait_seconds": {strconv.Itoa(waitSeconds)}}
	for {
		var job Job
		err := Patiently(ctx, func() error {
			return c.call(ctx, http.MethodGet, "jobs/"+url.PathEscape(id), query, nil, &job)
		})
		if err != nil || job.Final() {
			return job, err
		}
	}
}

// Patiently does deed, a call of a Client, until it succeeds, or fails for good, or
// ctx ends. A hub that is not reached, or stops, is asked again and again.
func Patiently(ctx context.Context, deed func() error) error {
	pause := backoff.NewExponentialBackOff(backoff.WithInitialInterval(100*time.Millisecond),
		backoff.WithMaxInterval(5*time.Second), backoff.WithMaxElapsedTime(0))
	var last error
	err := backoff.Retry(func() error {
		if last = deed(); last != nil && !passing(last) {
			return backoff.Permanent(last)
		}
		return last
	}, backoff.WithContext(pause, ctx))
	if err != nil && ctx.Err() != nil && last != nil {
		return fmt.Errorf("%w (%w)", context.Cause(ctx), last)
	}
	return err
}
