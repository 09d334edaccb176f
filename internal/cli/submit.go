package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/hub/client"
	"github.com/slipway-ci/slipway/internal/cli/command"
	"github.com/slipway-ci/slipway/internal/cli/remote"
)

// submission is what jobs submit was asked for.
type submission struct {
	spec         client.JobSpec
	env          []string
	timeout      time.Duration
	key          string
	wait, follow bool
	output       *command.Output
}

func jobsSubmit() *cobra.Command {
	s := &submission{}
	c := &cobra.Command{
		Use:   "submit --labels LABEL,... (--run SCRIPT | -- COMMAND...)",
		Short: "Submit a job, and print its id",
		Example: `  slipway jobs submit --labels linux,x64 -- make test
  slipway jobs submit --labels linux --follow --run 'make && make test'`,
		RunE: func(c *cobra.Command, args []string) error {
			if err := s.read(c, args); err != nil {
				return err
			}
			return s.submit(c)
		},
	}
	f := c.Flags()
	f.StringSliceVarP(&s.spec.Labels, "labels", "l", nil, "what the runner must have")
	f.StringVar(&s.spec.Run, "run", "", "a script for sh -e; - reads it from standard input")
	f.StringArrayVarP(&s.env, "env", "e", nil, "NAME=value for the job, or NAME alone for the value that it has here; may be given many times")
	f.DurationVar(&s.timeout, "timeout", 0, "how long one attempt may take (default: the hub's, one hour)")
	f.StringVar(&s.spec.Name, "name", "", "name for people (default: the beginning of what runs)")
	f.IntVar(&s.spec.Retries, "retries", 0, "how often it may run again after its runner was lost")
	f.StringVar(&s.key, "key", "", "idempotency key: the same key and job, submitted again, is the same job")
	f.BoolVar(&s.wait, "wait", false, "wait for its end; exit code 1 unless it succeeded")
	f.BoolVarP(&s.follow, "follow", "f", false, "print its log and wait for its end")
	s.output = command.AddOutput(c)
	return c
}

// read checks the call, and fills in what comes from elsewhere.
func (s *submission) read(c *cobra.Command, args []string) error {
	s.spec.Command, s.spec.TimeoutSeconds = args, s.timeout.Seconds()
	switch {
	case len(s.spec.Labels) == 0:
		return command.Usage(c, "--labels is missing: what must the runner have?")
	case len(args) == 0 && s.spec.Run == "":
		return command.Usage(c, "there is nothing to run: give --run, or a command after --")
	case len(args) > 0 && s.spec.Run != "":
		return command.Usage(c, "--run and a command were given: one of the two is needed")
	case s.timeout < 0:
		return command.Usage(c, "--timeout is %s: it can't be negative", s.timeout)
	case s.timeout > client.MaxJobTimeout:
		return command.Usage(c, "--timeout is %s: at most %s is allowed", s.timeout, client.MaxJobTimeout)
	}
	if s.spec.Run == "-" {
		script, err := io.ReadAll(io.LimitReader(c.InOrStdin(), client.MaxScriptBytes+1))
		if err != nil {
			return fmt.Errorf("read the script from standard input: %w", err)
		}
		if s.spec.Run = string(script); s.spec.Run == "" {
			return command.Usage(c, "standard input is empty: --run - reads the script from it")
		}
	}
	if len(s.spec.Run) > client.MaxScriptBytes {
		return command.Usage(c, "--run: the script is longer than %d bytes, which is the most", client.MaxScriptBytes)
	}
	for _, entry := range s.env {
		name, value, given := strings.Cut(entry, "=")
		if !given {
			if value, given = os.LookupEnv(name); !given {
				return command.Usage(c, "--env %s: it is not set here", name)
			}
		}
		if s.spec.Env == nil {
			s.spec.Env = map[string]string{}
		}
		s.spec.Env[name] = value
	}
	return nil
}

func (s *submission) submit(c *cobra.Command) error {
	r, err := remote.Connect(c)
	if err != nil {
		return err
	}
	job, err := r.Submit(c.Context(), s.spec, s.key)
	if err != nil {
		return r.Explain(c, "route for jobs", "", err)
	}
	if s.follow {
		_, _ = fmt.Fprintln(c.ErrOrStderr(), "job", job.ID)
		stop := tellWaits(c, r, job.ID)
		err := r.Logs(c.Context(), job.ID, client.LogOptions{Follow: true}, c.OutOrStdout())
		stop()
		if err != nil {
			return r.Explain(c, "job", job.ID, err)
		}
	}
	switch {
	case s.follow || s.wait:
		return s.end(c, r, job.ID)
	case s.output.JSON():
		return command.WriteJSON(c.OutOrStdout(), job)
	}
	_, err = fmt.Fprintln(c.OutOrStdout(), job.ID)
	return err
}

// end waits for the job's end and says how it ended: beside the log on standard
// error, else on standard output.
func (s *submission) end(c *cobra.Command, r *remote.Hub, id string) error {
	stop := tellWaits(c, r, id)
	job, err := r.Wait(c.Context(), id)
	stop()
	if err != nil {
		return r.Explain(c, "job", id, err)
	}
	w := c.OutOrStdout()
	if s.follow {
		w = c.ErrOrStderr()
	}
	if s.output.JSON() {
		err = command.WriteJSON(w, job)
	} else {
		_, err = fmt.Fprintln(w, id, ending(job))
	}
	if err == nil && !job.Succeeded() {
		err = command.Exit(command.ExitFailed)
	}
	return err
}

// waitAll waits for jobs and prints how each ended, in their order; in JSON all of
// them when all have.
func waitAll(c *cobra.Command, r *remote.Hub, output *command.Output, ids []string, timeout time.Duration) error {
	ctx := c.Context()
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	explain := func(id string, err error) error {
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
			return fmt.Errorf("job %s has not ended after %s", id, timeout)
		}
		return r.Explain(c, "job", id, err)
	}
	if _, err := r.Job(ctx, ids[0]); err != nil { // what never answered is not waited for
		return explain(ids[0], err)
	}
	failed, ended := false, []client.Job{}
	for _, id := range ids {
		stop := tellWaits(c, r, id)
		job, err := r.Wait(ctx, id)
		stop()
		if err != nil {
			return explain(id, err)
		}
		failed, ended = failed || !job.Succeeded(), append(ended, job)
		if output.JSON() {
			continue
		}
		if _, err := fmt.Fprintln(c.OutOrStdout(), id, ending(job)); err != nil {
			return err
		}
	}
	if output.JSON() {
		if err := command.WriteJSON(c.OutOrStdout(), remote.PageOf(ended, "")); err != nil {
			return err
		}
	}
	if failed {
		return command.Exit(command.ExitFailed)
	}
	return nil
}

// ending says how a job ended.
func ending(job client.Job) string {
	text := job.Status
	if job.ExitCode != nil && *job.ExitCode != 0 {
		text += fmt.Sprintf(" (exit code %d)", *job.ExitCode)
	} else if job.Reason != "" {
		text += " (" + command.Printable(job.Reason) + ")"
	}
	return text
}
