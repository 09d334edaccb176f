package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/hub/client"
	"github.com/slipway-ci/slipway/internal/cli/command"
	"github.com/slipway-ci/slipway/internal/cli/remote"
)

func jobsCommand() *cobra.Command {
	return command.Group("jobs", "Submit jobs to a hub, and see what becomes of them",
		jobsSubmit(), jobsList(), jobsShow(), jobsLogs(), jobsCancel(), jobsWait())
}

func jobsList() *cobra.Command {
	var filter client.Filter
	c := &cobra.Command{Use: "list", Short: "List jobs, the newest first", Args: command.Args(0, 0, "")}
	output := command.AddOutput(c)
	f := c.Flags()
	f.StringSliceVar(&filter.Statuses, "status", nil, "only jobs in one of these states, such as queued or failed")
	f.StringSliceVarP(&filter.Labels, "labels", "l", nil, "only jobs that ask for all of these labels")
	f.StringVar(&filter.Name, "name", "", "only jobs with this in their name")
	f.IntVar(&filter.Limit, "limit", 50, "how many at most: 1 to 500")
	f.StringVar(&filter.Cursor, "cursor", "", "go on where a list ended: its next")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if filter.Limit < 1 || filter.Limit > 500 {
			return command.Usage(c, "--limit is %d: 1 to 500 is allowed", filter.Limit)
		}
		list := jobList
		list.Read = func(ctx context.Context, h *remote.Hub) ([]client.JobSummary, string, error) {
			return h.Jobs(ctx, filter)
		}
		return list.Print(c, output)
	}
	return c
}

var jobList = remote.List[client.JobSummary]{Kind: "job", Columns: []remote.Column[client.JobSummary]{
	{Head: "ID", Cell: func(j client.JobSummary) string { return j.ID }},
	{Head: "NAME", Cell: func(j client.JobSummary) string { return j.Name }},
	{Head: "LABELS", Cell: func(j client.JobSummary) string { return strings.Join(j.Labels, ",") }},
	{Head: "STATUS", Cell: func(j client.JobSummary) string { return j.Status }},
	{Head: "AGE", Cell: func(j client.JobSummary) string { return command.Age(j.CreatedAt) }},
	{Head: "REASON", Cell: func(j client.JobSummary) string { return j.Reason }},
}}

func jobsShow() *cobra.Command {
	c := &cobra.Command{Use: "show ID", Short: "Show a job and its history", Args: command.Args(1, 1, "the job's id")}
	output := command.AddOutput(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		r, err := remote.Connect(c)
		if err != nil {
			return err
		}
		job, err := r.Job(c.Context(), args[0])
		if err != nil {
			return r.Explain(c, "job", args[0], err)
		}
		events, err := r.JobEvents(c.Context(), args[0])
		if err != nil {
			return r.Explain(c, "job", args[0], err)
		}
		var waiting *client.Waiting
		if !job.Final() {
			if why, err := r.Waiting(c.Context(), args[0]); err == nil { // an older hub can't tell
				waiting = &why
			}
		}
		if output.JSON() {
			return command.WriteJSON(c.OutOrStdout(), struct {
				client.Job
				Waiting *client.Waiting   `json:"waiting,omitempty"`
				Events  []client.JobEvent `json:"events"`
			}{job, waiting, events})
		}
		return showJob(c.OutOrStdout(), job, waiting, events)
	}
	return c
}

func showJob(w io.Writer, job client.Job, waiting *client.Waiting, events []client.JobEvent) error {
	what := job.Run
	if len(job.Command) > 0 {
		what = strings.Join(job.Command, " ")
	}
	code := ""
	if job.ExitCode != nil {
		code = strconv.Itoa(*job.ExitCode)
	}
	rows := [][]string{
		{"name", job.Name}, {"labels", strings.Join(job.Labels, ",")}, {"status", job.Status}, {"reason", job.Reason},
		{"exit code", code}, {"attempt", strconv.Itoa(job.Attempt)}, {"runner", job.Runner}, {"runs", what},
		{"variables", strings.Join(job.EnvNames, ",")}, {"timeout", seconds(job.TimeoutSeconds).String()},
		{"log", fmt.Sprintf("%d bytes", job.LogBytes)}, {"created", command.Stamp(job.CreatedAt)},
	}
	if waiting != nil && waiting.Text != "" {
		rows = slices.Insert(rows, 3, []string{"waits", waiting.Text})
	}
	if err := command.Table(w, []string{"id", job.ID}, rows); err != nil {
		return err
	}
	lines := make([][]string, len(events))
	for i, e := range events {
		lines[i] = []string{command.Stamp(e.At), e.Status, strconv.Itoa(e.Attempt), e.Reason}
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	return command.Table(w, []string{"AT", "STATUS", "ATTEMPT", "REASON"}, lines)
}

func jobsLogs() *cobra.Command {
	var options client.LogOptions
	c := &cobra.Command{
		Use: "logs ID", Short: "Print a job's log", Args: command.Args(1, 1, "the job's id"),
		RunE: func(c *cobra.Command, args []string) error {
			if options.Attempt < 0 {
				return command.Usage(c, "--attempt is %d: 1 or more is allowed", options.Attempt)
			}
			r, err := remote.Connect(c)
			if err != nil {
				return err
			}
			if options.Attempt > 0 || options.Follow { // what never answered is not waited for
				job, err := r.Job(c.Context(), args[0])
				if err != nil {
					return r.Explain(c, "job", args[0], err)
				}
				if options.Attempt > job.Attempt && !options.Follow {
					return fmt.Errorf("job %s has had %d attempts: there is no attempt %d", args[0], job.Attempt, options.Attempt)
				}
			}
			return r.Explain(c, "job", args[0], r.Logs(c.Context(), args[0], options, c.OutOrStdout()))
		},
	}
	c.Flags().BoolVarP(&options.Follow, "follow", "f", false, "go on until the job has ended")
	c.Flags().IntVar(&options.Attempt, "attempt", 0, "which attempt (default: the last)")
	return c
}

func jobsCancel() *cobra.Command {
	c := &cobra.Command{Use: "cancel ID...", Short: "Ask for the end of jobs", Args: command.Args(1, -1, "a job's id")}
	output := command.AddOutput(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return remote.Deeds[client.Job]{
			Kind: "job",
			Do:   func(ctx context.Context, h *remote.Hub, id string) (client.Job, error) { return h.Cancel(ctx, id) },
			Say: func(id string, job client.Job) string {
				if !job.Final() {
					return id + " " + job.Status + ", to be cancelled"
				}
				return id + " " + job.Status
			},
		}.Run(c, output, args)
	}
	return c
}

func jobsWait() *cobra.Command {
	var timeout time.Duration
	c := &cobra.Command{
		Use: "wait ID...", Short: "Wait until jobs have ended; exit code 1 unless all succeeded", Args: command.Args(1, -1, "a job's id"),
	}
	output := command.AddOutput(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if timeout < 0 {
			return command.Usage(c, "--timeout is %s: it can't be negative", timeout)
		}
		r, err := remote.Connect(c)
		if err != nil {
			return err
		}
		return waitAll(c, r, output, args, timeout)
	}
	c.Flags().DurationVar(&timeout, "timeout", 0, "how long to wait (default: for ever)")
	return c
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
