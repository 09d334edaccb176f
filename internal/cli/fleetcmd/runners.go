package fleetcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/hub/client"
	"github.com/slipway-ci/slipway/internal/cli/command"
	"github.com/slipway-ci/slipway/internal/cli/remote"
)

const runnerID = "the runner's id"

// states are those of runners, as package backend has them.
var states = []string{"starting", "running", "stopping", "exited", "failed", "unknown"}

// Runners is slipway runners.
func Runners() *cobra.Command {
	return command.Group("runners", "See the runners of all hosts, read what they print, stop them",
		runnersList(), runnersShow(), runnersLogs(), runnersStop())
}

func runnersList() *cobra.Command {
	var filter client.RunnerFilter
	var limit remote.Limit
	c := &cobra.Command{Use: "list", Short: "List runners, the newest first", Args: command.Args(0, 0, "")}
	output := command.AddOutput(c)
	f := c.Flags()
	f.StringVar(&filter.Host, "host", "", "only those of this host")
	f.StringVar(&filter.ScaleSet, "scale-set", "", "only those of this scale set")
	f.StringVar(&filter.State, "state", "", "only those in this state: "+command.Choice(states...))
	limit.Add(c)
	remote.CompleteFlag(c, "host", remote.CompleteHosts(-1))
	remote.CompleteFlag(c, "scale-set", remote.CompleteScaleSets(-1))
	remote.CompleteFlag(c, "state", remote.Words(states...))
	c.RunE = func(c *cobra.Command, _ []string) error {
		if filter.State != "" && !slices.Contains(states, filter.State) {
			return command.Usage(c, "--state is %q: %s is allowed", filter.State, command.Choice(states...))
		}
		if err := limit.Check(c); err != nil {
			return err
		}
		list := runnerList
		list.Read = func(ctx context.Context, h *remote.Hub) ([]client.Runner, string, error) {
			asked := filter
			asked.Limit, asked.Cursor = limit.N, limit.Cursor
			return h.Runners(ctx, asked)
		}
		return list.Print(c, output)
	}
	return c
}

var runnerList = remote.List[client.Runner]{Kind: "runner", Columns: []remote.Column[client.Runner]{
	{Head: "ID", Cell: func(r client.Runner) string { return r.ID }},
	{Head: "SCALE SET", Cell: func(r client.Runner) string { return r.ScaleSet }},
	{Head: "HOST", Cell: func(r client.Runner) string { return r.Host }},
	{Head: "STATE", Cell: ended},
	{Head: "JOB", Cell: func(r client.Runner) string { return r.Job }},
	{Head: "AGE", Cell: func(r client.Runner) string { return command.AgeOf(r.CreatedAt) }},
	{Head: "ERROR", Cell: func(r client.Runner) string { return r.Error }},
}}

// ended is a runner's state, with the exit code of one that failed.
func ended(r client.Runner) string {
	if r.ExitCode != nil && *r.ExitCode != 0 {
		return fmt.Sprintf("%s (%d)", r.State, *r.ExitCode)
	}
	return r.State
}

func runnersShow() *cobra.Command {
	c := &cobra.Command{Use: "show ID", Short: "Show a runner", Args: command.Args(1, 1, runnerID), ValidArgsFunction: remote.CompleteRunners(1)}
	output := command.AddOutput(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return remote.Show(c, output, "runner", args[0], func(ctx context.Context, h *remote.Hub) (client.Runner, error) { return h.Runner(ctx, args[0]) }, showRunner)
	}
	return c
}

func showRunner(w io.Writer, r client.Runner) error {
	code := ""
	if r.ExitCode != nil {
		code = strconv.Itoa(*r.ExitCode)
	}
	return command.Table(w, []string{"id", r.ID}, [][]string{
		{"scale set", r.ScaleSet}, {"host", r.Host}, {"state", r.State}, {"job", r.Job}, {"exit code", code}, {"error", r.Error},
		{"created", command.StampOf(r.CreatedAt)}, {"started", command.StampOf(r.StartedAt)}, {"ended", command.StampOf(r.EndedAt)},
	})
}

func runnersLogs() *cobra.Command {
	var tail int
	c := &cobra.Command{
		Use: "logs ID", Short: "Print what a runner printed", Args: command.Args(1, 1, runnerID), ValidArgsFunction: remote.CompleteRunners(1),
		Long: `Print what a runner printed itself, as its host has it now. The log of its job is
another one, which the hub keeps: slipway jobs logs.`,
	}
	c.Flags().IntVar(&tail, "tail", 0, "only the last so many lines (default: all that there is)")
	c.RunE = func(c *cobra.Command, args []string) error {
		if tail < 0 {
			return command.Usage(c, "--tail is %d: it can't be negative", tail)
		}
		h, err := remote.Connect(c)
		if err != nil {
			return err
		}
		return h.Explain(c, "runner", args[0], h.RunnerLogs(c.Context(), args[0], tail, c.OutOrStdout()))
	}
	return c
}

func runnersStop() *cobra.Command {
	c := &cobra.Command{
		Use: "stop ID...", Short: "End runners, and their jobs with them", Args: command.Args(1, -1, runnerID), ValidArgsFunction: remote.CompleteRunners(-1),
		Long: `End runners, and their jobs with them. It is done when slipway runners list no
longer shows them; on a host that is offline, when it is back. To end a job alone,
use slipway jobs cancel.`,
	}
	output := command.AddOutput(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return remote.Deeds[client.Runner]{Kind: "runner", Do: func(ctx context.Context, h *remote.Hub, id string) (client.Runner, error) {
			r, err := h.StopRunner(ctx, id)
			if errors.Is(err, client.ErrConflict) {
				err = fmt.Errorf("stop runner %s: %w", id, err)
			}
			return r, err
		}, Say: func(id string, _ client.Runner) string { return id + " is being stopped" }}.Run(c, output, args)
	}
	return c
}
