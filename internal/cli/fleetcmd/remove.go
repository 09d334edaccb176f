package fleetcmd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/hub/client"
	"github.com/slipway-ci/slipway/internal/cli/command"
	"github.com/slipway-ci/slipway/internal/cli/remote"
)

func hostsRemove() *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use: "remove NAME...", Short: "Forget hosts", Args: command.Args(1, -1, hostName), ValidArgsFunction: remote.CompleteHosts(-1),
		Long: `Forget hosts. One that is online or has runners is refused: drain it and stop its
agent first. A host that is gone for good goes with --force: what the hub knows of
its runners is discarded, their jobs end with the reason host-removed, and the
host's id is refused for ever.`,
	}
	c.Flags().BoolVar(&force, "force", false, "remove it although it is online or has runners")
	c.RunE = func(c *cobra.Command, args []string) error {
		rest := args
		err := remote.Removal("host", "removed", func(ctx context.Context, h *remote.Hub, name string) error {
			rest = rest[1:]
			err := h.RemoveHost(ctx, name, force)
			if errors.Is(err, client.ErrConflict) && !force {
				err = fmt.Errorf("host %s: %w (--force does that)", name, err)
			}
			return err
		}).Run(c, nil, args)
		if err != nil && len(rest) > 0 && len(rest) < len(args) {
			err = fmt.Errorf("%w; not tried: %s", err, strings.Join(rest, ", "))
		}
		return err
	}
	return c
}
