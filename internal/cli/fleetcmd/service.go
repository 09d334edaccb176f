package fleetcmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/hub/client"
	"github.com/slipway-ci/slipway/internal/cli/command"
	"github.com/slipway-ci/slipway/internal/cli/remote"
)

func hostsSet() *cobra.Command {
	var name string
	var most int
	var cordon bool
	var version int64
	set := labels{}
	c := &cobra.Command{
		Use: "set NAME", Short: "Change what is set for a host", Args: command.Args(1, 1, hostName), ValidArgsFunction: remote.CompleteHosts(1),
		Example: `  slipway hosts set builder-01 --max-runners 8
  slipway hosts set builder-01 --labels zone=a,disk=fast`,
	}
	output := command.AddOutput(c)
	f := c.Flags()
	f.StringVar(&name, "name", "", "a new name; scale sets go on to mean this host")
	f.IntVar(&most, "max-runners", 0, "how many runners it may have; 0: its CPUs")
	f.VarP(set, "labels", "l", "labels, instead of those that it has; '' for none")
	f.BoolVar(&cordon, "cordon", false, "keep new runners from it; --cordon=false gives it some again")
	f.Int64Var(&version, "if-version", 0, "only if its version (see show) still is this one")
	c.RunE = func(c *cobra.Command, args []string) error {
		var edit client.HostEdit
		if f.Changed("name") {
			edit.Name = &name
		}
		if f.Changed("max-runners") {
			edit.MaxRunners = &most
		}
		if f.Changed("cordon") {
			edit.Cordoned = &cordon
		}
		if f.Changed("labels") {
			edit.Labels = set
		}
		switch {
		case edit.Name == nil && edit.MaxRunners == nil && edit.Cordoned == nil && edit.Labels == nil:
			return command.Usage(c, "there is nothing to set: give --max-runners, --labels, --cordon or --name")
		case most < 0:
			return command.Usage(c, "--max-runners is %d: it can't be negative", most)
		case version < 0:
			return command.Usage(c, "--if-version is %d: it can't be negative", version)
		}
		h, err := remote.Connect(c)
		if err != nil {
			return err
		}
		host, err := h.EditHost(c.Context(), args[0], version, edit)
		if err != nil {
			return h.Explain(c, "host", args[0], err)
		}
		if output.JSON() {
			return command.WriteJSON(c.OutOrStdout(), host)
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "%s set: %s\n", command.Printable(args[0]), settings(edit, host))
		return err
	}
	return c
}

// settings is what an edit set for a host, on one line.
func settings(edit client.HostEdit, h client.Host) string {
	var parts []string
	if edit.Name != nil {
		parts = append(parts, "name "+h.Name)
	}
	switch {
	case edit.MaxRunners == nil:
	case h.MaxRunners == 0:
		parts = append(parts, "max runners its CPUs")
	default:
		parts = append(parts, fmt.Sprintf("max runners %d", h.MaxRunners))
	}
	switch {
	case edit.Labels == nil:
	case len(h.Labels) == 0:
		parts = append(parts, "no labels")
	default:
		parts = append(parts, "labels "+pairs(h.Labels))
	}
	switch {
	case edit.Cordoned == nil:
	case h.Cordoned:
		parts = append(parts, "cordoned")
	default:
		parts = append(parts, "not cordoned")
	}
	return command.Printable(strings.Join(parts, ", "))
}

// hostDeed is a command that does one thing to each host that it names.
func hostDeed(use, short, long, did string, deed func(context.Context, *remote.Hub, string) (client.Host, error)) *cobra.Command {
	c := &cobra.Command{
		Use: use + " NAME...", Short: short, Long: long, Args: command.Args(1, -1, hostName), ValidArgsFunction: remote.CompleteHosts(-1),
	}
	output := command.AddOutput(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return remote.Deeds[client.Host]{Kind: "host", Do: func(ctx context.Context, h *remote.Hub, name string) (client.Host, error) {
			host, err := deed(ctx, h, name)
			if errors.Is(err, client.ErrConflict) {
				err = fmt.Errorf("host %s: %w", name, err)
			}
			return host, err
		}, Say: func(name string, host client.Host) string { return cmp.Or(host.Name, name) + " " + did }}.Run(c, output, args)
	}
	return c
}

func hostsCordon() *cobra.Command {
	return hostDeed("cordon", "Keep new runners from hosts; what runs there goes on", "", "cordoned",
		func(ctx context.Context, h *remote.Hub, name string) (client.Host, error) {
			return h.CordonHost(ctx, name)
		})
}

func hostsUncordon() *cobra.Command {
	return hostDeed("uncordon", "Let hosts have new runners again; ends a drain too", "", "uncordoned",
		func(ctx context.Context, h *remote.Hub, name string) (client.Host, error) {
			return h.UncordonHost(ctx, name)
		})
}

func hostsRotate() *cobra.Command {
	return hostDeed("rotate-token", "Have the agents of hosts take new tokens", `Have the agents of hosts take new tokens. The agent makes its token itself; the
old one works until the new one was used once. The host must be online.`, "has a new token",
		func(ctx context.Context, h *remote.Hub, name string) (client.Host, error) {
			return h.RotateHostToken(ctx, name)
		})
}

func hostsRevoke() *cobra.Command {
	return hostDeed("revoke", "End the credentials of hosts", `End the credentials of hosts: their agents are cut off and refused until they are
enrolled again (slipway hosts reenrol). Their runners finish what they do.`, "revoked",
		func(ctx context.Context, h *remote.Hub, name string) (client.Host, error) {
			return h.RevokeHost(ctx, name)
		})
}
