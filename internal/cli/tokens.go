package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/hub/client"
	"github.com/slipway-ci/slipway/internal/cli/command"
	"github.com/slipway-ci/slipway/internal/cli/remote"
)

func tokensCommand() *cobra.Command {
	return command.Group("tokens", "Make, list and revoke a hub's tokens", tokensCreate(), tokensList(), tokensRevoke())
}

// kinds are the names of --kind and what the API calls them.
var kinds = map[string]string{
	"provisioner": "provisioner", "registration": "registration", "manual-registration": "registration", "admin": "admin", "api": "api",
}

var roles = []string{"admin", "operator", "viewer"}

func tokensCreate() *cobra.Command {
	var spec client.TokenSpec
	var expires time.Duration
	c := &cobra.Command{
		Use: "create --kind KIND", Short: "Make a token and print it, this once", Args: command.Args(0, 0, ""),
		Long: `Make a token and print it: it can't be shown again.

Kinds: api, for people and programs, with a --role; admin, for everything on this
hub; provisioner, for a provisioner (--api says which generation of the API it
speaks); registration, for runners that are started by hand, any number of them.

Roles: admin may do everything; operator all but tokens, the audit log, writing
credentials, and adding or removing hosts; viewer may look.`,
	}
	output := command.AddOutput(c)
	f := c.Flags()
	f.StringVar(&spec.Kind, "kind", "", "api, admin, provisioner or registration")
	f.StringVar(&spec.Role, "role", "", "role of an api token: "+command.Choice(roles...))
	f.StringVar(&spec.API, "api", "", "generation of a provisioner's API: head, ert or pr (default head)")
	f.StringVar(&spec.Name, "name", "", "name for people")
	f.DurationVar(&expires, "expires", 0, "how long it works (default: until it is revoked)")
	remote.CompleteFlag(c, "kind", remote.Words("api", "admin", "provisioner", "registration"))
	remote.CompleteFlag(c, "role", remote.Words(roles...))
	remote.CompleteFlag(c, "api", remote.Words("head", "ert", "pr"))
	c.RunE = func(c *cobra.Command, _ []string) error {
		asked := spec
		asked.Kind, asked.ExpiresInSeconds = kinds[spec.Kind], int64(expires/time.Second)
		if err := checkToken(c, spec, expires); err != nil {
			return err
		}
		if expires == 0 && c.Flags().Changed("expires") {
			return command.Usage(c, "--expires is 0s: 1s to %s is allowed; leave it out for a token that works until it is revoked", client.MaxTokenLifetime)
		}
		r, err := remote.Connect(c)
		if err != nil {
			return err
		}
		made, err := r.CreateToken(c.Context(), asked)
		if err != nil {
			return r.Explain(c, "route for tokens", "", err)
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

func checkToken(c *cobra.Command, spec client.TokenSpec, expires time.Duration) error {
	kind, known := kinds[spec.Kind]
	switch {
	case !known:
		return command.Usage(c, "--kind is %q: api, admin, provisioner or registration is needed", spec.Kind)
	case spec.API != "" && kind != "provisioner":
		return command.Usage(c, "--api is for --kind provisioner alone")
	case spec.API != "" && spec.API != "head" && spec.API != "ert" && spec.API != "pr":
		return command.Usage(c, "--api is %q: head, ert or pr is allowed", spec.API)
	case spec.Role != "" && kind != "api":
		return command.Usage(c, "--role is for --kind api alone")
	case kind == "api" && !slices.Contains(roles, spec.Role):
		return command.Usage(c, "--role is %q: %s is needed", spec.Role, command.Choice(roles...))
	case expires < 0 || expires > 0 && expires < time.Second || expires > client.MaxTokenLifetime:
		return command.Usage(c, "--expires is %s: 1s to %s is allowed", expires, client.MaxTokenLifetime)
	}
	return nil
}

func tokensList() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List the tokens, without their secrets", Args: command.Args(0, 0, "")}
	output := command.AddOutput(c)
	c.RunE = func(c *cobra.Command, _ []string) error { return tokenList.Print(c, output) }
	return c
}

var tokenList = remote.List[client.Token]{
	Kind: "token",
	Read: func(ctx context.Context, h *remote.Hub) ([]client.Token, string, error) {
		list, err := h.Tokens(ctx)
		return list, "", err
	},
	Columns: []remote.Column[client.Token]{
		{Head: "ID", Cell: func(t client.Token) string { return t.ID }},
		{Head: "TOKEN", Cell: func(t client.Token) string { return t.Prefix + "…" }},
		{Head: "KIND", Cell: func(t client.Token) string { return t.Kind }},
		{Head: "ROLE", Cell: func(t client.Token) string { return t.Role }},
		{Head: "API", Cell: func(t client.Token) string { return t.API }},
		{Head: "NAME", Cell: func(t client.Token) string { return t.Name }},
		{Head: "AGE", Cell: func(t client.Token) string { return command.Age(t.CreatedAt) }},
		{Head: "STATUS", Cell: status},
	},
}

func status(t client.Token) string {
	switch {
	case t.RevokedAt != nil:
		return "revoked"
	case t.ExpiresAt != nil && time.Now().After(*t.ExpiresAt):
		return "expired"
	case t.ExpiresAt != nil:
		return "until " + command.Stamp(*t.ExpiresAt)
	}
	return "good"
}

func tokensRevoke() *cobra.Command {
	c := &cobra.Command{Use: "revoke ID...", Short: "Revoke tokens, by the ids that list shows", Args: command.Args(1, -1, "a token's id")}
	output := command.AddOutput(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return remote.Deeds[revokedToken]{
			Kind: "token",
			Do: func(ctx context.Context, h *remote.Hub, id string) (revokedToken, error) {
				return revokedToken{id, "revoked"}, h.RevokeToken(ctx, id)
			},
			Say: func(id string, _ revokedToken) string { return id + " revoked" },
		}.Run(c, output, args)
	}
	return c
}

// revokedToken is what JSON tells of one.
type revokedToken struct {
	ID     string `json:"id"`
	Status string `json:"status"`
}
