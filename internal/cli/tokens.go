package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/hub/client"
	"github.com/slipway-ci/slipway/internal/cli/command"
)

func tokensCommand() *cobra.Command {
	return command.Group("tokens", "Make, list and revoke a hub's tokens", tokensCreate(), tokensList(), tokensRevoke())
}

// kinds are the names of --kind and what the API calls them.
var kinds = map[string]string{
	"provisioner": "provisioner", "registration": "registration", "manual-registration": "registration", "admin": "admin",
}

func tokensCreate() *cobra.Command {
	var spec client.TokenSpec
	var expires time.Duration
	c := &cobra.Command{
		Use: "create --kind KIND", Short: "Make a token and print it, this once", Args: command.Args(0, 0, ""),
		Long: `Make a token and print it: it can't be shown again.

Kinds: provisioner, for a provisioner (--api says which generation of the API it
speaks); registration, for runners that are started by hand, any number of them;
admin, for everything on this hub.`,
	}
	output := command.AddOutput(c)
	f := c.Flags()
	f.StringVar(&spec.Kind, "kind", "", "provisioner, registration or admin")
	f.StringVar(&spec.API, "api", "", "generation of a provisioner's API: head, ert or pr (default head)")
	f.StringVar(&spec.Name, "name", "", "name for people")
	f.DurationVar(&expires, "expires", 0, "how long it works (default: until it is revoked)")
	c.RunE = func(c *cobra.Command, _ []string) error {
		kind, known := kinds[spec.Kind]
		switch {
		case !known:
			return command.Usage(c, "--kind is %q: provisioner, registration or admin is needed", spec.Kind)
		case spec.API != "" && kind != "provisioner":
			return command.Usage(c, "--api is for --kind provisioner alone")
		case spec.API != "" && spec.API != "head" && spec.API != "ert" && spec.API != "pr":
			return command.Usage(c, "--api is %q: head, ert or pr is allowed", spec.API)
		case expires < 0 || expires > 0 && expires < time.Second:
			return command.Usage(c, "--expires is %s: a second or more is needed", expires)
		}
		r, err := connect(c)
		if err != nil {
			return err
		}
		asked := spec
		asked.Kind, asked.ExpiresInSeconds = kind, int64(expires/time.Second)
		made, err := r.CreateToken(c.Context(), asked)
		if err != nil {
			return r.explain(c.Context(), "route for tokens", err)
		}
		if output.JSON() {
			return command.WriteJSON(c.OutOrStdout(), made)
		}
		_, _ = fmt.Fprintf(c.ErrOrStderr(), "token %s (%s), shown this once:\n", made.ID, made.Kind)
		_, err = fmt.Fprintln(c.OutOrStdout(), made.Secret)
		return err
	}
	return c
}

func tokensList() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List the tokens, without their secrets", Args: command.Args(0, 0, "")}
	output := command.AddOutput(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		r, err := connect(c)
		if err != nil {
			return err
		}
		list, err := r.Tokens(c.Context())
		if err != nil {
			return r.explain(c.Context(), "list", err)
		}
		if output.JSON() {
			return command.WriteJSON(c.OutOrStdout(), page(list, ""))
		}
		rows := make([][]string, len(list))
		for i, t := range list {
			rows[i] = []string{t.ID, t.Prefix + "…", t.Kind, t.API, t.Name, age(t.CreatedAt), status(t)}
		}
		return command.Table(c.OutOrStdout(), []string{"ID", "TOKEN", "KIND", "API", "NAME", "AGE", "STATUS"}, rows)
	}
	return c
}

func status(t client.Token) string {
	switch {
	case t.RevokedAt != nil:
		return "revoked"
	case t.ExpiresAt != nil && time.Now().After(*t.ExpiresAt):
		return "expired"
	case t.ExpiresAt != nil:
		return "until " + stamp(*t.ExpiresAt)
	}
	return "good"
}

func tokensRevoke() *cobra.Command {
	return &cobra.Command{
		Use: "revoke ID...", Short: "Revoke tokens, by the ids that list shows", Args: command.Args(1, -1, "a token's id"),
		RunE: func(c *cobra.Command, args []string) error {
			r, err := connect(c)
			if err != nil {
				return err
			}
			for _, id := range args {
				if err := r.RevokeToken(c.Context(), id); err != nil {
					return r.explain(c.Context(), "token "+id, err)
				}
				if _, err := fmt.Fprintln(c.OutOrStdout(), id, "revoked"); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
