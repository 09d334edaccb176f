package fleetcmd

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/hub/client"
	"github.com/slipway-ci/slipway/internal/cli/command"
	"github.com/slipway-ci/slipway/internal/cli/remote"
)

func hostsDrain() *cobra.Command {
	var deadline, timeout time.Duration
	var wait bool
	c := &cobra.Command{
		Use: "drain NAME...", Short: "Cordon hosts, and have what runs there come to its end",
		Long: `Cordon hosts, and have what runs there come to its end. Idle runners are ended,
busy ones finish their jobs; what still runs after --deadline is ended with its
job. Without a deadline nothing is. A host stays cordoned when it is drained:
slipway hosts uncordon gives it runners again, and ends a drain.`,
		Args: command.Args(1, -1, hostName), ValidArgsFunction: remote.CompleteHosts(-1),
	}
	output := command.AddOutput(c)
	c.Flags().DurationVar(&deadline, "deadline", 0, "end what runs after so long (default: never)")
	c.Flags().BoolVar(&wait, "wait", false, "wait until nothing runs there; exit code 1 if that does not come")
	c.Flags().DurationVar(&timeout, "timeout", 0, "with --wait: how long (default: for ever)")
	c.RunE = func(c *cobra.Command, args []string) error {
		switch {
		case deadline < 0 || deadline > maxTTL:
			return command.Usage(c, "--deadline is %s: up to %s is allowed", deadline, maxTTL)
		case timeout < 0:
			return command.Usage(c, "--timeout is %s: it can't be negative", timeout)
		case timeout > 0 && !wait:
			return command.Usage(c, "--timeout is for --wait alone")
		}
		h, err := remote.Connect(c)
		if err != nil {
			return err
		}
		return drain(c, h, args, drainOptions{deadline, timeout, wait, output})
	}
	return c
}

type drainOptions struct {
	deadline, timeout time.Duration
	wait              bool
	output            *command.Output
}

// drain begins all drains, then waits for each.
func drain(c *cobra.Command, h *remote.Hub, names []string, o drainOptions) error {
	say := func(host client.Host) {
		if !o.output.JSON() {
			_, _ = fmt.Fprintln(c.OutOrStdout(), command.Printable(host.Name), draining(host))
		}
	}
	hosts := make([]client.Host, len(names))
	for i, name := range names {
		host, err := h.DrainHost(c.Context(), name, client.DrainSpec{DeadlineSeconds: o.deadline.Seconds()})
		if err != nil {
			return h.Explain(c, "host", name, err)
		}
		hosts[i] = host
		say(host)
	}
	if o.wait {
		ctx, cancel := limited(c.Context(), o.timeout)
		defer cancel()
		for i, name := range names {
			told := !hosts[i].Draining
			err := until(ctx, func() (bool, error) {
				host, err := h.Host(ctx, name)
				if err != nil {
					return false, err
				}
				if hosts[i] = host; !host.Draining && !host.Cordoned {
					return false, fmt.Errorf("host %s is no longer being drained: somebody uncordoned it", name)
				}
				return !host.Draining, nil
			})
			if errors.Is(err, errTimeout) {
				return fmt.Errorf("host %s has %s after %s", name, command.Plural(hosts[i].Runners, "runner"), o.timeout)
			}
			if err != nil {
				return h.Explain(c, "host", name, err)
			}
			if !told {
				say(hosts[i])
			}
		}
	}
	if o.output.JSON() {
		return command.WriteJSON(c.OutOrStdout(), remote.PageOf(hosts, ""))
	}
	return nil
}

func draining(h client.Host) string {
	if !h.Draining {
		return "drained"
	}
	text := "draining: " + command.Plural(h.Runners, "runner")
	if h.DrainDeadline != nil {
		text += ", ended at " + command.Stamp(*h.DrainDeadline)
	}
	return text
}
