package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/internal/cli/command"
	"github.com/slipway-ci/slipway/internal/cli/remote"
)

func whoamiCommand() *cobra.Command {
	c := &cobra.Command{Use: "whoami", Short: "Show which hub is asked, with whose token, and what that may do", Args: command.Args(0, 0, "")}
	output := command.AddOutput(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		h, err := remote.Connect(c)
		if err != nil {
			return err
		}
		me, err := h.Whoami(c.Context())
		if err != nil {
			return h.Explain(c, "route /api/v1/whoami", "", err)
		}
		return output.Write(c.OutOrStdout(), me, func(w io.Writer) error {
			until := "until it is revoked"
			if me.ExpiresAt != nil {
				until = fmt.Sprintf("until %s", command.Stamp(*me.ExpiresAt))
			}
			return command.Table(w, []string{"hub", h.Address}, [][]string{
				{"token", me.TokenID}, {"name", me.Name}, {"kind", me.Kind}, {"role", me.Role}, {"good", until},
			})
		})
	}
	return c
}
