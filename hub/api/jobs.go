package api

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"github.com/slipway-ci/slipway/hub/api/problem"
	"github.com/slipway-ci/slipway/hub/api/rest"
	"github.com/slipway-ci/slipway/hub/logs"
	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/template"
)

func (s *Server) jobRoutes() {
	rest.Register(s.Server, rest.Often(rest.Operator("job")), rest.Answering(http.StatusCreated, rest.Operation("submit-job", http.MethodPost, "jobs", "Submit a job; 201 means that it is on disk",
		http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity, http.StatusInsufficientStorage)), s.submit)
	list := rest.Operation("list-jobs", http.MethodGet, "jobs", "List jobs, the newest first")
	list.Description = "What a job runs, and the names of its variables, are not in lists: show-job tells them."
	rest.Register(s.Server, rest.Viewer("job"), list, s.list)
	rest.Register(s.Server, rest.Viewer("job"), rest.Operation("show-job", http.MethodGet, "jobs/{id}", "Show a job, or wait for its end", http.StatusNotFound), s.show)
	rest.Register(s.Server, rest.Viewer("job"), rest.Operation("list-job-events", http.MethodGet, "jobs/{id}/events", "List what became of a job", http.StatusNotFound), s.jobEvents)
	rest.Register(s.Server, rest.Viewer("job"), rest.Operation("explain-job", http.MethodGet, "jobs/{id}/why", "Tell why a job has not begun to run", http.StatusNotFound), s.explainJob)
	rest.Register(s.Server, rest.Often(rest.Operator("job")), rest.Operation("cancel-job", http.MethodPost, "jobs/{id}/cancel", "Ask for a job's end", http.StatusNotFound), s.cancel)
}

func jobOf(j queue.Job) Job {
	return Job{JobSummary: summaryOf(j), Run: j.Run, Command: j.Command, EnvNames: orEmpty(j.EnvNames)}
}

func summaryOf(j queue.Job) JobSummary {
	return JobSummary{
		ID: j.ID, Name: j.Name, Labels: orEmpty(j.Labels),
		TimeoutSeconds: j.Timeout.Seconds(), Retries: j.Retries, Status: string(j.State), Reason: j.Reason, Attempt: j.Attempt,
		ExitCode: j.ExitCode, LogBytes: j.LogBytes, Runner: cmp.Or(j.RunnerName, j.Runner), CreatedAt: j.CreatedAt,
		StartedAt: orNull(j.StartedAt), FinishedAt: orNull(j.FinishedAt), CancelledAt: orNull(j.CancelRequestedAt),
	}
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func orNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

type oneJob struct {
	Body Job
}

type submitInput struct {
	Key  string `header:"Idempotency-Key" doc:"the same key and body is the same job, for as long as that is kept"`
	Body JobSpec
}

func (s *Server) submit(ctx context.Context, in *submitInput) (*oneJob, error) {
	job, err := s.Queue.Submit(ctx, queue.JobSpec{
		Name: in.Body.Name, Labels: in.Body.Labels, Run: in.Body.Run, Command: in.Body.Command, Env: in.Body.Env,
		Timeout: time.Duration(in.Body.TimeoutSeconds * float64(time.Second)), Retries: in.Body.Retries, Key: in.Key,
	})
	if err != nil {
		return nil, s.fault(err)
	}
	d := rest.DeedOf(ctx)
	d.Object = "job/" + job.ID
	d.Set("name", in.Body.Name) // the default is what runs
	d.Set("labels", job.Labels)
	return &oneJob{jobOf(job)}, nil
}

type listInput struct {
	Status []string `query:"status" enum:"queued,reserved,launched,running,succeeded,failed,cancelled,timed-out,runner-lost" doc:"any of these"`
	Label  []string `query:"label" maxItems:"20" doc:"all of these; a job may ask for more"`
	Name   string   `query:"name" maxLength:"200" doc:"a part of the name; A to Z in any case"`
	Limit  int      `query:"limit" minimum:"1" maximum:"500" default:"50"`
	rest.From
}

type jobList struct {
	Body rest.List[JobSummary]
}

func (s *Server) list(ctx context.Context, in *listInput) (*jobList, error) {
	filter := queue.JobFilter{Name: in.Name, Cursor: in.Key(), Limit: in.Limit}
	for _, status := range in.Status {
		filter.States = append(filter.States, queue.State(status))
	}
	if len(in.Label) > 0 {
		var err error
		if filter.Labels, err = template.Canonical(in.Label); err != nil {
			return nil, problem.New(http.StatusUnprocessableEntity, "invalid", err.Error(), problem.FieldError{Location: "query.label", Message: err.Error()})
		}
	}
	jobs, next, err := s.Queue.Jobs(ctx, filter)
	if err != nil {
		return nil, s.fault(err)
	}
	items := make([]JobSummary, len(jobs))
	for i, job := range jobs {
		items[i] = summaryOf(job)
	}
	return &jobList{rest.PageOf(items, next, in.From)}, nil
}

type showInput struct {
	ID   string `path:"id"`
	Wait int    `query:"wait_seconds" minimum:"0" maximum:"60" doc:"answer when the job has ended, or after so long"`
}

func (s *Server) show(ctx context.Context, in *showInput) (*oneJob, error) {
	sub := s.Queue.Subscribe(queue.TopicJob(in.ID))
	defer sub.Close()
	deadline := time.NewTimer(time.Duration(in.Wait) * time.Second)
	defer deadline.Stop()
	for last := in.Wait == 0; ; {
		job, err := s.Queue.Job(ctx, in.ID)
		if err != nil {
			return nil, s.fault(err)
		}
		if last || job.State.Final() {
			return &oneJob{s.withLog(job)}, nil
		}
		select {
		case <-sub.C:
		case <-deadline.C:
			last = true
		case <-ctx.Done():
			last = true
		}
	}
}

// withLog tells of a job that runs how long its log is so far.
func (s *Server) withLog(job queue.Job) Job {
	answer := jobOf(job)
	if job.Attempt > 0 {
		if length, err := s.Logs.Length(logs.Key{Job: job.ID, Attempt: job.Attempt}); err == nil {
			answer.LogBytes = max(answer.LogBytes, length)
		}
	}
	return answer
}

type jobInput struct {
	ID string `path:"id"`
}

type jobEventList struct {
	Body rest.List[JobEvent]
}

func (s *Server) jobEvents(ctx context.Context, in *jobInput) (*jobEventList, error) {
	if _, err := s.Queue.Job(ctx, in.ID); err != nil {
		return nil, s.fault(err)
	}
	events, err := s.Queue.JobEvents(ctx, in.ID, 0)
	if err != nil {
		return nil, s.fault(err)
	}
	items := make([]JobEvent, len(events))
	for i, e := range events {
		items[i] = JobEvent{At: e.At, Status: string(e.State), Attempt: e.Attempt, Runner: e.Runner, Reason: e.Reason}
	}
	return &jobEventList{rest.ListOf(items, "")}, nil
}

func (s *Server) cancel(ctx context.Context, in *jobInput) (*oneJob, error) {
	var job queue.Job
	err := s.Store(func() (err error) {
		job, err = s.Queue.Cancel(ctx, in.ID)
		return err
	})
	if err != nil {
		return nil, s.fault(err)
	}
	return &oneJob{s.withLog(job)}, nil
}
