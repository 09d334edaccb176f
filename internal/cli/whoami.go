package cli

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/hub/client"
	"github.com/slipway-ci/slipway/internal/cli/command"
	"github.com/slipway-ci/slipway/internal/cli/remote"
)

func whoamiCommand() *cobra.Command {
	c := &cobra.Command{Use: "whoami", Short: "Show which hub is asked, with whose token, and what that may do", Args: command.Args(0, 0, "")}
	output := command.AddOutput(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		me := func(ctx context.Context, h *remote.Hub) (client.Identity, error) { return h.Whoami(ctx) }
		return remote.Show(c, output, "route /api/v1/whoami", "", me, showIdentity)
	}
	return c
}

func showIdentity(w io.Writer, me client.Identity) error {
	until := "until it is revoked"
	if me.ExpiresAt != nil {
		until = "until " + command.Stamp(*me.ExpiresAt)
	}
	return command.Table(w, []string{"hub", remote.Address()}, [][]string{
		{"token", me.TokenID}, {"name", me.Name}, {"kind", me.Kind}, {"role", me.Role}, {"good", until},
	})
}
