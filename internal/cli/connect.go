package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/hub"
	"github.com/slipway-ci/slipway/hub/client"
	"github.com/slipway-ci/slipway/internal/cli/command"
)

const (
	// envPrefix comes before a flag's name in the environment.
	envPrefix = "SLIPWAY_"
	envURL    = envPrefix + "URL"
	envToken  = envPrefix + "TOKEN"

	// defaultURL is where a hub listens by default.
	defaultURL = "http://" + hub.DefaultListen
)

// remote is a hub as the commands see it.
type remote struct {
	*client.Client
	url string
}

// hubURL is the hub's address.
func hubURL() string { return cmp.Or(os.Getenv(envURL), defaultURL) }

// connect makes a client from the environment. The token is never an argument:
// those can be read by everybody on the machine.
func connect(c *cobra.Command) (*remote, error) {
	token := os.Getenv(envToken)
	if token == "" {
		return nil, command.Usage(c, "%s is not set: it is the admin token that the hub's first start printed", envToken)
	}
	made, err := client.New(client.Config{URL: hubURL(), Token: token})
	if err != nil {
		return nil, command.Usage(c, "%s or %s: %w", envURL, envToken, err)
	}
	return &remote{made, hubURL()}, nil
}

// explain says what to do about an error of a call. what names the object.
func (r *remote) explain(ctx context.Context, what string, err error) error {
	switch {
	case err == nil:
		return nil
	case command.Interrupt(ctx) != nil:
		return command.Interrupt(ctx)
	case errors.Is(err, client.ErrUnauthorized):
		return fmt.Errorf("the hub at %s refuses the token in %s: %w", r.url, envToken, err)
	case errors.Is(err, client.ErrNotFound):
		return fmt.Errorf("there is no %s on the hub at %s", what, r.url)
	case errors.Is(err, client.ErrUnreachable):
		return fmt.Errorf("no hub answers at %s: start slipway-hub, or set %s (%w)", r.url, envURL, err)
	}
	return err
}
