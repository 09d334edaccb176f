package fleetcmd

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/hub/client"
	"github.com/slipway-ci/slipway/internal/cli/command"
	"github.com/slipway-ci/slipway/internal/cli/remote"
)

const maxTTL = 7 * 24 * time.Hour

// isolation adds --isolated and its other name to c.
func isolation(c *cobra.Command, to *bool, what string) {
	c.Flags().BoolVar(to, "isolated", false, what)
	c.Flags().BoolVar(to, "sysbox", false, "the same as --isolated: sysbox-runc is what is installed")
}

func checkTTL(c *cobra.Command, ttl time.Duration) error {
	if ttl < 0 || ttl > 0 && ttl < time.Second || ttl > maxTTL {
		return command.Usage(c, "--ttl is %s: 1s to %s is allowed", ttl, maxTTL)
	}
	return nil
}

func hostsAdd() *cobra.Command {
	spec := client.HostSpec{}
	set := labels{}
	var ttl time.Duration
	c := &cobra.Command{
		Use: "add NAME", Short: "Add a host, and print the one line to run on it", Args: command.Args(1, 1, hostName),
		Long: `Add a host, and print the one line that makes a machine that host. The line goes
to standard output, once: it holds a single-use token, and can't be shown again
(slipway hosts reenrol makes a new one). It needs the hub's --public-url.

A new host gets no runners until a scale set targets it.`,
		Example: `  slipway hosts add builder-01 --labels zone=a,disk=fast
  ssh builder-02 "$(slipway hosts add builder-02 --max-runners 8)"`,
	}
	output := command.AddOutput(c)
	f := c.Flags()
	isolation(c, &spec.Isolated, "have the line install an isolated runtime too")
	f.IntVar(&spec.MaxRunners, "max-runners", 0, "how many runners it may have (default: its CPUs)")
	f.VarP(set, "labels", "l", "labels, for scale sets to select hosts by")
	f.BoolVar(&spec.Cordoned, "cordon", false, "keep runners from it until slipway hosts uncordon")
	f.DurationVar(&ttl, "ttl", 0, "how long the line works (default: the hub's, 15m)")
	c.RunE = func(c *cobra.Command, args []string) error {
		if spec.MaxRunners < 0 {
			return command.Usage(c, "--max-runners is %d: it can't be negative", spec.MaxRunners)
		}
		if err := checkTTL(c, ttl); err != nil {
			return err
		}
		h, err := remote.Connect(c)
		if err != nil {
			return err
		}
		asked := spec
		asked.Name, asked.Labels, asked.TTLSeconds = args[0], set, int64(ttl/time.Second)
		made, err := h.AddHost(c.Context(), asked)
		if err != nil {
			return h.Explain(c, "host", args[0], err)
		}
		return invite(c, output, made, "added")
	}
	return c
}

func hostsReenrol() *cobra.Command {
	var isolated bool
	var ttl time.Duration
	c := &cobra.Command{
		Use: "reenrol NAME", Short: "Print a new line for a host that exists", Args: command.Args(1, 1, hostName),
		Long: `Print a new line for a host that exists, for a machine whose agent was lost or to
add an isolated runtime later. Nothing changes until the line is run; then too the
host keeps its id, its runners and its volumes.`,
		ValidArgsFunction: remote.CompleteHosts(1),
	}
	output := command.AddOutput(c)
	isolation(c, &isolated, "have the line install an isolated runtime too (default: as before)")
	c.Flags().DurationVar(&ttl, "ttl", 0, "how long the line works (default: the hub's, 15m)")
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := checkTTL(c, ttl); err != nil {
			return err
		}
		h, err := remote.Connect(c)
		if err != nil {
			return err
		}
		spec := client.ReenrolSpec{TTLSeconds: int64(ttl / time.Second)}
		if c.Flags().Changed("isolated") || c.Flags().Changed("sysbox") {
			spec.Isolated = &isolated
		}
		made, err := h.ReenrolHost(c.Context(), args[0], spec)
		if err != nil {
			return h.Explain(c, "host", args[0], err)
		}
		return invite(c, output, made, "may be enrolled again")
	}
	return c
}

// invite prints the line on standard output, and all else beside it.
func invite(c *cobra.Command, output *command.Output, made client.NewHost, did string) error {
	if output.JSON() {
		return command.WriteJSON(c.OutOrStdout(), made)
	}
	_, _ = fmt.Fprintf(c.ErrOrStderr(), "host %s %s; run this line on it, once, before %s (in %s):\n", command.Printable(made.Name), did,
		command.Stamp(made.Enrolment.ExpiresAt), command.Short(time.Until(made.Enrolment.ExpiresAt)))
	_, err := fmt.Fprintln(c.OutOrStdout(), made.Enrolment.Line)
	return err
}

func enrolments() *cobra.Command {
	return command.Group("enrolments", "See and cancel the lines that were made for hosts", enrolmentsList(), enrolmentsCancel())
}

func enrolmentsList() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List enrolments, without their tokens", Args: command.Args(0, 0, "")}
	output := command.AddOutput(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		return remote.List[client.Enrolment]{
			Kind: "enrolment",
			Read: func(ctx context.Context, h *remote.Hub) ([]client.Enrolment, string, error) {
				return remote.All(func(cursor string) ([]client.Enrolment, string, error) { return h.Enrolments(ctx, 0, cursor) })
			},
			Columns: []remote.Column[client.Enrolment]{
				{Head: "ID", Cell: func(e client.Enrolment) string { return e.ID }},
				{Head: "HOST", Cell: func(e client.Enrolment) string { return e.Host }},
				{Head: "ISOLATED", Cell: func(e client.Enrolment) string { return yesNo(e.Isolated) }},
				{Head: "AGE", Cell: func(e client.Enrolment) string { return command.Age(e.CreatedAt) }},
				{Head: "STATUS", Cell: enrolmentStatus},
			},
		}.Print(c, output)
	}
	return c
}

func enrolmentStatus(e client.Enrolment) string {
	switch {
	case e.UsedAt != nil:
		return "used " + command.Stamp(*e.UsedAt)
	case time.Now().After(e.ExpiresAt):
		return "expired"
	}
	return "open for " + command.Short(time.Until(e.ExpiresAt))
}

func enrolmentsCancel() *cobra.Command {
	return &cobra.Command{
		Use: "cancel ID...", Short: "Make lines worthless that were not run", Args: command.Args(1, -1, "an enrolment's id"),
		RunE: func(c *cobra.Command, args []string) error {
			return remote.Removal("enrolment", "cancelled", func(ctx context.Context, h *remote.Hub, id string) error {
				return h.CancelEnrolment(ctx, id)
			}).Run(c, nil, args)
		},
	}
}
