package agentd

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/internal/agentd/identity"
	"github.com/slipway-ci/slipway/internal/cli/command"
	"github.com/slipway-ci/slipway/internal/logsink"
	"github.com/slipway-ci/slipway/tokens"
)

// trialDeadline is Config.UpdateDeadline of the program: tests have less patience.
var trialDeadline time.Duration

func runCommand() *cobra.Command {
	s := &settings{}
	s.config.UpdateDeadline = trialDeadline
	c := &cobra.Command{
		Use: "run", Short: "Serve this host's engine to the hub", Args: command.Args(0, 0, ""),
		Long: `Serve this host's engine to the hub that the host is enrolled with, until a signal
ends it. Runners go on without it. The first signal stops nicely, the second at
once; SIGHUP reads the policy anew.

An agent beside its hub needs no enrolment: --hub, and in SLIPWAY_LOCAL_AGENT_TOKEN
the token that the hub has in its own.`,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := s.read(c); err != nil {
				return err
			}
			if err := s.localToken(c); err != nil {
				return err
			}
			if err := s.config.validate(); err != nil {
				return command.Usage(c, "%w", err)
			}
			sink := logsink.New(c.ErrOrStderr())
			defer sink.Close()
			s.config.Logger = s.logger(sink)
			err := Run(c.Context(), s.config)
			if errors.Is(err, identity.ErrLocked) {
				return fmt.Errorf("%s is in use by another agent: stop it, or choose another folder with --data", s.config.Data)
			}
			return err
		},
	}
	s.common(c)
	s.remote(c, "URL of the hub (default: the one that the host is enrolled with)")
	s.engine(c)
	f := c.Flags()
	f.StringVar(&s.config.HostRoot, "host-root", "/", "where the host's root is mounted, for an agent in a container")
	f.StringVar(&s.config.HTTPAddr, "http-addr", "off", "address of /healthz, /readyz, /status and /metrics; off: none")
	s.logs(c)
	return c
}

// localToken takes the local agent's credential from the environment, or from the
// file that a variable names.
func (s *settings) localToken(c *cobra.Command) error {
	text, err := secret(LocalTokenEnv)
	if err != nil || text == "" {
		return err
	}
	token, err := tokens.Parse(text)
	if err != nil || token.Kind() != tokens.Agent {
		return command.Usage(c, "%s holds no agent's token: one that begins with sf_agt_ is needed", LocalTokenEnv)
	}
	s.config.LocalToken = token
	return nil
}

// secret reads a variable, or the file that the variable of that name and _FILE
// names.
func secret(name string) (string, error) {
	if value := os.Getenv(name); value != "" {
		return value, nil
	}
	path := os.Getenv(name + "_FILE")
	if path == "" {
		return "", nil
	}
	return secretFile(path, name+"_FILE")
}
