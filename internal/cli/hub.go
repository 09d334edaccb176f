package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/hub/client"
	"github.com/slipway-ci/slipway/internal/cli/command"
	"github.com/slipway-ci/slipway/internal/cli/remote"
)

func hubCommand() *cobra.Command {
	return command.Group("hub", "See how the hub itself does", hubStatus())
}

func hubStatus() *cobra.Command {
	c := &cobra.Command{
		Use: "status", Short: "Show the hub's version, its URLs, its disk, and whether jobs come from where they should", Args: command.Args(0, 0, ""),
	}
	output := command.AddOutput(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		info := func(ctx context.Context, h *remote.Hub) (client.HubInfo, error) { return h.Hub(ctx) }
		return remote.Show(c, output, "information of itself", "", info, showHub)
	}
	return c
}

func showHub(w io.Writer, info client.HubInfo) error {
	public := info.PublicURL
	if public == "" {
		public = "none: no host can be enrolled (slipway-hub --public-url)"
	}
	disk := fmt.Sprintf("%s free of %s", command.Size(info.Free), command.Size(info.Total))
	if info.Full {
		disk += ": too full for new jobs"
	}
	rows := [][]string{
		{"version", info.Version}, {"listens at", info.URL}, {"public URL", public}, {"runner URL", info.RunnerURL}, {"disk", disk},
	}
	for _, plane := range slices.Sorted(maps.Keys(info.ControlPlanes)) {
		problem := info.ControlPlanes[plane]
		if problem == "" {
			problem = "ok"
		}
		rows = append(rows, []string{"jobs from " + plane, problem})
	}
	return command.Table(w, []string{"hub", remote.Address()}, rows)
}
