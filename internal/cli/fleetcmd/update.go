package fleetcmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/hub/client"
	"github.com/slipway-ci/slipway/internal/cli/command"
	"github.com/slipway-ci/slipway/internal/cli/remote"
)

func hostsUpdate() *cobra.Command {
	var spec client.UpdateHostsSpec
	var wait bool
	var timeout time.Duration
	c := &cobra.Command{
		Use: "update (NAME... | --all)", Short: "Have the agents of hosts become another version",
		Long: `Have the agents of hosts become another version: each fetches it from this hub,
checks its signature, restarts, and goes back by itself if it can't reach the hub
then. Running jobs are untouched. One host goes first (or --canary of them), and
when it is back the others follow, one at a time; if one fails, those that were
not told yet are stopped. A host that is offline is updated when it is back.

Hosts that take no updates from the hub, by their own policy or for want of a key,
stop nobody, and are named: they stay behind.`,
		Args: command.Args(0, -1, hostName), ValidArgsFunction: remote.CompleteHosts(-1),
	}
	output := command.AddOutput(c)
	f := c.Flags()
	f.BoolVar(&spec.All, "all", false, "all hosts")
	f.IntVar(&spec.Canary, "canary", 1, "how many hosts go first, together")
	f.StringVar(&spec.Version, "version", "", "the version (default: the one that the hub has)")
	f.BoolVar(&wait, "wait", false, "wait until all have it; exit code 1 if one does not")
	f.DurationVar(&timeout, "timeout", 0, "with --wait: how long (default: for ever)")
	c.RunE = func(c *cobra.Command, args []string) error {
		switch {
		case spec.All == (len(args) > 0):
			return command.Usage(c, "which hosts? Give names, or --all")
		case spec.Canary < 1:
			return command.Usage(c, "--canary is %d: 1 or more is allowed", spec.Canary)
		case timeout < 0:
			return command.Usage(c, "--timeout is %s: it can't be negative", timeout)
		case timeout > 0 && !wait:
			return command.Usage(c, "--timeout is for --wait alone")
		}
		h, err := remote.Connect(c)
		if err != nil {
			return err
		}
		asked := spec
		asked.Hosts = args
		hosts, err := h.UpdateHosts(c.Context(), asked)
		if errors.Is(err, client.ErrNotFound) && !spec.All {
			return unknown(c, h, args, err)
		}
		if err != nil {
			return h.Explain(c, "host", "", err)
		}
		if spec.All {
			if hosts, err = withLeftOut(c.Context(), h, hosts); err != nil {
				return h.Explain(c, "host", "", err)
			}
		}
		return update(c, h, hosts, updateOptions{wait, timeout, output})
	}
	return c
}

// unknown says which of the names there is no host of: an order is for all of them,
// or for none.
func unknown(c *cobra.Command, h *remote.Hub, names []string, err error) error {
	for _, name := range names {
		if _, err := h.Host(c.Context(), name); err != nil {
			err = h.Explain(c, "host", name, err)
			if len(names) > 1 {
				err = fmt.Errorf("%w; nothing was ordered", err)
			}
			return err
		}
	}
	return h.Explain(c, "host", "", err) // it was removed and added meanwhile
}

// withLeftOut puts the hosts first that an order for all left out, since they take
// no updates: they stay behind.
func withLeftOut(ctx context.Context, h *remote.Hub, ordered []client.Host) ([]client.Host, error) {
	all, _, err := remote.All(func(cursor string) ([]client.Host, string, error) {
		return h.Hosts(ctx, client.HostFilter{Cursor: cursor})
	})
	left := slices.DeleteFunc(all, func(x client.Host) bool {
		known := slices.ContainsFunc(ordered, func(o client.Host) bool { return o.ID == x.ID })
		return known || !x.Enrolled || x.UpdateTo != "" || x.UpdateProblem == ""
	})
	return append(left, ordered...), err
}

type updateOptions struct {
	wait    bool
	timeout time.Duration
	output  *command.Output
}

// update tells what is updated, and with wait how that ended.
func update(c *cobra.Command, h *remote.Hub, hosts []client.Host, o updateOptions) error {
	if len(hosts) == 0 {
		_, _ = fmt.Fprintln(c.ErrOrStderr(), "no host needs that update")
	}
	ctx, cancel := limited(c.Context(), o.timeout)
	defer cancel()
	failed := false
	for i := range hosts {
		if o.wait {
			if err := updated(ctx, h, &hosts[i]); errors.Is(err, errTimeout) {
				return fmt.Errorf("host %s is not updated after %s: it has %s", hosts[i].Name, o.timeout, hosts[i].AgentVersion)
			} else if err != nil {
				return h.Explain(c, "host", hosts[i].Name, err)
			}
			failed = failed || hosts[i].UpdateProblem != ""
		}
		if !o.output.JSON() {
			if _, err := fmt.Fprintln(c.OutOrStdout(), command.Printable(hosts[i].Name), command.Printable(updating(hosts[i]))); err != nil {
				return err
			}
		}
	}
	if o.output.JSON() {
		if err := command.WriteJSON(c.OutOrStdout(), remote.PageOf(hosts, "")); err != nil {
			return err
		}
	}
	if failed {
		return command.Exit(command.ExitFailed)
	}
	return nil
}

// updated waits until the host's update is over, well or not.
func updated(ctx context.Context, h *remote.Hub, host *client.Host) error {
	return until(ctx, func() (bool, error) {
		now, err := h.Host(ctx, host.ID)
		if err != nil {
			return false, err
		}
		*host = now
		return now.UpdateTo == "", nil
	})
}

func updating(h client.Host) string {
	version := cmp.Or(h.AgentVersion, "an unknown version")
	switch {
	case h.UpdateTo != "":
		return fmt.Sprintf("%s -> %s", version, h.UpdateTo)
	case h.UpdateProblem != "":
		return fmt.Sprintf("has %s: %s", version, h.UpdateProblem)
	}
	return "has " + version
}
