package demo

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	"github.com/slipway-ci/slipway/hub/logs"
	"github.com/slipway-ci/slipway/hub/queue"
)

// readChunk is how much of a log is read at once.
const readChunk = 64 << 10

// follow shows every job until it has ended. The error is of the first, in order,
// that did not succeed.
func (d *demo) follow(ctx context.Context, jobs []queue.Job) error {
	ends, errs := make([]queue.Job, len(jobs)), make([]error, len(jobs))
	var all sync.WaitGroup
	for i, job := range jobs {
		all.Go(func() {
			f := &follower{demo: d, row: i, job: job}
			ends[i], errs[i] = f.follow(ctx)
		})
	}
	all.Wait()
	var first error
	for i, job := range ends {
		switch {
		case errs[i] == nil && job.State == queue.StateSucceeded:
			d.succeeded++
		case first != nil:
		case errs[i] != nil:
			first = fmt.Errorf("job %s: %w", jobs[i].Name, errs[i])
		default:
			first = fmt.Errorf("job %s: %s", job.Name, ending(job))
		}
	}
	return first
}

// ending says how a job ended, in words.
func ending(job queue.Job) string {
	text := string(job.State)
	code := ""
	if job.ExitCode != nil {
		code = fmt.Sprintf("exit code %d", *job.ExitCode)
		text += ", " + code
	}
	if reason := oneLine(job.Reason); reason != "" && reason != code {
		text += ": " + reason
	}
	return text
}

// follower shows one job.
type follower struct {
	demo *demo
	row  int
	job  queue.Job

	event   int64 // the last one shown
	attempt int
	offset  int64
	partial []byte // of a log line
}

func (f *follower) follow(ctx context.Context) (queue.Job, error) {
	q := f.demo.hub.Queue()
	sub := q.Subscribe(queue.TopicJob(f.job.ID))
	defer sub.Close()
	last := f.job.State
	for {
		// First the state, then the rest: the log is whole before the job has ended.
		job, err := q.Job(ctx, f.job.ID)
		if err == nil {
			last = job.State
			err = f.look(ctx, q, job)
		}
		if err == nil && job.State.Final() {
			f.demo.show.state(f.row, job.State, ending(job))
			return job, nil
		}
		if err == nil {
			select {
			case <-sub.C:
				continue
			case <-ctx.Done():
			}
		}
		if ctx.Err() != nil {
			return job, fmt.Errorf("still %s: %w%s", last, context.Cause(ctx), f.demo.stuck())
		}
		return job, err
	}
}

// look shows what is new of a job, its end apart.
func (f *follower) look(ctx context.Context, q *queue.Queue, job queue.Job) error {
	events, err := q.JobEvents(ctx, job.ID, f.event)
	if err != nil {
		return err
	}
	for _, e := range events {
		f.event = e.Seq
		if !e.State.Final() {
			f.demo.show.state(f.row, e.State, oneLine(e.Reason))
		}
	}
	if job.Attempt == 0 {
		return nil
	}
	if job.Attempt != f.attempt {
		f.attempt, f.offset = job.Attempt, 0
	}
	if err := f.drain(); err != nil {
		return err
	}
	if job.State.Final() && len(f.partial) > 0 {
		f.demo.show.line(f.row, string(f.partial))
		f.partial = nil
	}
	return nil
}

// drain shows what there is of the log, line by line.
func (f *follower) drain() error {
	for {
		chunk, err := f.demo.hub.Logs().Read(logs.Key{Job: f.job.ID, Attempt: f.attempt}, f.offset, readChunk)
		if err != nil {
			return fmt.Errorf("read log: %w", err)
		}
		if chunk.End() {
			return nil
		}
		f.offset = chunk.Next()
		text := append(f.partial, chunk.Data...)
		if chunk.Missing > 0 {
			text = append(text, chunk.Mark()...)
		}
		for {
			line, rest, whole := bytes.Cut(text, []byte("\n"))
			if !whole {
				break
			}
			f.demo.show.line(f.row, string(line))
			text = rest
		}
		f.partial = bytes.Clone(text)
	}
}
