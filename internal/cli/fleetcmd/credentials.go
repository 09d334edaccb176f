package fleetcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/slipway-ci/slipway/hub/client"
	"github.com/slipway-ci/slipway/internal/cli/command"
	"github.com/slipway-ci/slipway/internal/cli/remote"
)

const credentialName = "the credential's name"

// Credentials is slipway credentials.
func Credentials() *cobra.Command {
	return command.Group("credentials", "Keep the users of image registries that scale sets pull with",
		credentialsList(), credentialsSet(), credentialsDelete())
}

func credentialsList() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List the credentials, without their passwords", Args: command.Args(0, 0, "")}
	output := command.AddOutput(c)
	c.RunE = func(c *cobra.Command, _ []string) error { return credentialList.Print(c, output) }
	return c
}

var credentialList = remote.List[client.Credential]{
	Kind: "credential",
	Read: func(ctx context.Context, h *remote.Hub) ([]client.Credential, string, error) {
		list, err := h.Credentials(ctx)
		return list, "", err
	},
	Columns: []remote.Column[client.Credential]{
		{Head: "NAME", Cell: func(x client.Credential) string { return x.Name }},
		{Head: "REGISTRY", Cell: func(x client.Credential) string { return x.Registry }},
		{Head: "USERNAME", Cell: func(x client.Credential) string { return x.Username }},
		{Head: "AGE", Cell: func(x client.Credential) string { return command.Age(x.UpdatedAt) }},
		{Head: "PROBLEM", Cell: func(x client.Credential) string { return x.Problem }},
	},
}

func credentialsSet() *cobra.Command {
	var spec client.CredentialSpec
	var stdin bool
	c := &cobra.Command{
		Use: "set NAME --registry R --username U --password-stdin", Short: "Make a credential, or replace it",
		Long: `Make a credential, or replace it. The password is read from standard input, and on
a terminal asked for: as an argument everybody on the machine could read it. The
hub encrypts it and never tells it back.`,
		Example: `  slipway credentials set ghcr --registry ghcr.io --username ci --password-stdin < token.txt`,
		Args:    command.Args(1, 1, credentialName), ValidArgsFunction: remote.CompleteCredentials(1),
	}
	output := command.AddOutput(c)
	f := c.Flags()
	f.StringVar(&spec.Registry, "registry", "", "the registry's host, such as ghcr.io")
	f.StringVar(&spec.Username, "username", "", "the user there")
	f.BoolVar(&stdin, "password-stdin", false, "read the password from standard input")
	c.RunE = func(c *cobra.Command, args []string) error {
		switch {
		case spec.Registry == "":
			return command.Usage(c, "--registry is missing, such as ghcr.io")
		case spec.Username == "":
			return command.Usage(c, "--username is missing")
		}
		h, err := remote.Connect(c)
		if err != nil {
			return err
		}
		asked := spec
		if asked.Password, err = password(c, stdin); err != nil {
			return err
		}
		made, err := h.SetCredential(c.Context(), args[0], asked)
		if err != nil {
			return h.Explain(c, "credential", args[0], err)
		}
		if output.JSON() {
			return command.WriteJSON(c.OutOrStdout(), made)
		}
		_, err = fmt.Fprintf(c.OutOrStdout(), "%s set: %s at %s\n", args[0], command.Printable(made.Username), command.Printable(made.Registry))
		return err
	}
	return c
}

// maxPassword is the hub's own limit.
const maxPassword = 64 << 10

// password reads a password from standard input, or asks for it on a terminal.
func password(c *cobra.Command, stdin bool) (string, error) {
	f, ok := c.InOrStdin().(*os.File)
	asks := ok && term.IsTerminal(int(f.Fd()))
	if !asks && !stdin {
		return "", command.Usage(c, "--password-stdin is missing: there is no terminal to ask for the password")
	}
	var text []byte
	var err error
	if asks {
		_, _ = fmt.Fprint(c.ErrOrStderr(), "Password: ")
		text, err = term.ReadPassword(int(f.Fd()))
		_, _ = fmt.Fprintln(c.ErrOrStderr())
	} else {
		text, err = io.ReadAll(io.LimitReader(c.InOrStdin(), maxPassword+3))
	}
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	read := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	switch {
	case read == "":
		return "", command.Usage(c, "the password is empty")
	case len(read) > maxPassword:
		return "", command.Usage(c, "the password is longer than %d bytes", maxPassword)
	}
	return read, nil
}

func credentialsDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME...", Short: "Delete credentials", Args: command.Args(1, -1, credentialName), ValidArgsFunction: remote.CompleteCredentials(-1),
		RunE: func(c *cobra.Command, args []string) error {
			return remote.Removal("credential", "deleted", func(ctx context.Context, h *remote.Hub, name string) error {
				err := h.DeleteCredential(ctx, name)
				if errors.Is(err, client.ErrConflict) {
					err = fmt.Errorf("%w: take it out of the scale sets first", err)
				}
				return err
			}).Run(c, nil, args)
		},
	}
}
