package agentd

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/internal/cli/command"
	"github.com/slipway-ci/slipway/internal/logsink"
	"github.com/slipway-ci/slipway/internal/runner"
	"github.com/slipway-ci/slipway/internal/signals"
	"github.com/slipway-ci/slipway/internal/version"
)

// Every flag is a variable too: with this prefix, and those that mean the same to
// all programs of Slipway with the shorter one as well.
const (
	envPrefix    = "SLIPWAY_AGENT_"
	sharedPrefix = "SLIPWAY_"
)

var shared = []string{"hub", "backend", "docker-host", "insecure-http", "ca-file", "log-level", "log-json"}

// Main is the program: it runs the command line and returns the exit code. The
// caller has called process.Main before.
func Main(args []string) int {
	if len(args) > 0 && args[0] == "runner" {
		// It takes over the process, and executes itself again with the same arguments.
		return runner.Main(args[1:], os.Environ(), os.Stderr)
	}
	adoptChildren()
	root := Root()
	ctx, stop := signals.Interruptible(root.ErrOrStderr())
	defer stop()
	err := command.Execute(ctx, root, args)
	var restart *Restart
	if errors.As(err, &restart) {
		stop() // from here on a signal does by itself what it is for
		if interrupted := new(signals.Interrupted); errors.As(context.Cause(ctx), &interrupted) {
			err = nil
		} else {
			err = restart.Exec(args)
		}
	}
	return command.Report(root.Name(), root.ErrOrStderr(), err)
}

// Root makes the command.
func Root() *cobra.Command {
	c := command.Group("slipway-agent", "Serve this host's engine to a Slipway hub",
		runCommand(), enrolCommand(), statusCommand(), purgeCommand(), versionCommand(), runnerCommand())
	c.Long = `Serve this host's engine to a Slipway hub: it dials out, and needs no open port.

Enrol the host once with the token of "slipway hosts add", then run. Every flag
can be given as a variable: --data is SLIPWAY_AGENT_DATA. See docs/agent.md.`
	c.Version = version.Line("slipway-agent")
	c.SetVersionTemplate("{{.Version}}\n")
	return c
}

// settings are what the flags of a command say.
type settings struct {
	config   Config
	logLevel string
	logJSON  bool
}

// common adds the flags that all commands with a data folder have.
func (s *settings) common(c *cobra.Command) {
	c.Flags().StringVar(&s.config.Data, "data", defaultData(), "folder with the agent's identity and credentials")
}

// engine adds the flags that say where the engine is.
func (s *settings) engine(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&s.config.Backend, "backend", "docker", "docker or process; process isolates nothing")
	f.StringVar(&s.config.DockerHost, "docker-host", "", "the engine: unix://, tcp:// or ssh:// (default DOCKER_HOST, then the local socket)")
	s.policy(c)
}

// policy adds the flag that says what a hub may start.
func (s *settings) policy(c *cobra.Command) {
	c.Flags().StringVar(&s.config.Policy, "policy", "", "what this host lets a hub start (default "+DefaultPolicy+"; if there is none: nothing privileged, nothing of the host)")
}

// remote adds the flags that say how the hub is reached.
func (s *settings) remote(c *cobra.Command, hub string) {
	f := c.Flags()
	f.StringVar(&s.config.Hub, "hub", "", hub)
	f.BoolVar(&s.config.InsecureHTTP, "insecure-http", false, "allow a hub that is neither https nor on this machine: tokens then cross the network unencrypted")
	f.StringVar(&s.config.CAFile, "ca-file", "", "certificates in PEM that are trusted beside the system's")
}

func (s *settings) logs(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&s.logLevel, "log-level", "info", "trace, debug, info, warn or error")
	f.BoolVar(&s.logJSON, "log-json", false, "log in JSON")
}

// read takes the variables in, and opens the log.
func (s *settings) read(c *cobra.Command) error {
	if err := command.FromEnv(c, envPrefix); err != nil {
		return err
	}
	for _, name := range shared {
		f := c.Flags().Lookup(name)
		value := os.Getenv(command.EnvName(sharedPrefix, name))
		if f == nil || f.Changed || value == "" {
			continue
		}
		if err := c.Flags().Set(name, value); err != nil {
			return command.Usage(c, "%s: %w", command.EnvName(sharedPrefix, name), err)
		}
	}
	if s.logLevel == "" {
		return nil
	}
	if hclog.LevelFromString(s.logLevel) == hclog.NoLevel {
		return command.Usage(c, "--log-level is %q: trace, debug, info, warn or error is allowed", s.logLevel)
	}
	s.config.Logger = s.logger(c.ErrOrStderr())
	return nil
}

// logger writes to out, without tokens.
func (s *settings) logger(out io.Writer) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{
		Name: "slipway-agent", Output: logsink.Clean(out), Level: hclog.LevelFromString(s.logLevel), JSONFormat: s.logJSON,
	})
}

// defaultData is DefaultData for root, else a folder of the user's.
func defaultData() string {
	if os.Getuid() == 0 {
		return DefaultData
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "slipway-agent")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "slipway-agent-data"
	}
	return filepath.Join(home, ".local", "state", "slipway-agent")
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Tell which build this is", Args: command.Args(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := io.WriteString(c.OutOrStdout(), version.Line("slipway-agent")+"\n")
			return err
		},
	}
}

// runnerCommand is for the help: Main takes it before anything else is done.
func runnerCommand() *cobra.Command {
	return &cobra.Command{
		Use: "runner", Short: "Run one job of a hub and end: what this program does inside runners", Args: command.Args(0, 0, ""),
		Long: "Run one job of a hub and end. Its settings are environment variables: see docs/runner.md.",
		RunE: func(c *cobra.Command, _ []string) error {
			return command.Usage(c, "it must be the first argument of the program")
		},
	}
}
