package standalone

import (
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/backend/process"
	"github.com/slipway-ci/slipway/internal/cli/command"
	"github.com/slipway-ci/slipway/internal/signals"
	"github.com/slipway-ci/slipway/internal/version"
	"github.com/slipway-ci/slipway/tokens"
)

// Main is the program: it runs the command line and returns the exit code.
func Main() int {
	process.Main() // does not return in the supervisor of a runner
	root := Root()
	ctx, stop := signals.Interruptible(root.ErrOrStderr())
	defer stop()
	return command.Report(root.Name(), root.ErrOrStderr(), command.Execute(ctx, root, os.Args[1:]))
}

// told prints all that is wrong, a line each, and ends the program with code.
func told(c *cobra.Command, code int, err error) error {
	if err == nil {
		return nil
	}
	for line := range strings.SplitSeq(strings.TrimSpace(err.Error()), "\n") {
		_, _ = fmt.Fprintln(c.ErrOrStderr(), c.Root().Name()+":", tokens.Redact(line))
	}
	return command.Exit(code)
}

// Root makes the command.
func Root() *cobra.Command {
	check := false
	c := &cobra.Command{
		Use: "slipway-provisioner", Short: "Turn waiting Shipfox jobs into one-job runners on this machine",
		Long: `Turn waiting Shipfox jobs into one-job runners on this machine's Docker engine.

Every flag is a variable too, and those of @shipfox/provisioner-docker keep their
names, defaults and meaning; docs/provisioner.md lists them. SIGHUP reads the
template file again and opens the log file anew. The first interrupt drains, the
second leaves at once.`,
		Version: version.Line("slipway-provisioner"), Args: command.Args(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			flags := map[string]string{}
			for _, s := range settings {
				if s.flag != "" && c.Flags().Changed(s.flag) {
					flags[s.flag], _ = c.Flags().GetString(s.flag)
				}
			}
			config, err := Load(flags, os.Getenv)
			if err != nil {
				return told(c, command.ExitUsage, err)
			}
			if check {
				return told(c, command.ExitFailed, config.Check(c.Context(), c.OutOrStdout()))
			}
			reload := make(chan os.Signal, 1)
			signal.Notify(reload, syscall.SIGHUP)
			defer signal.Stop(reload)
			return config.Run(c.Context(), reload, c.OutOrStdout())
		},
	}
	c.SetVersionTemplate("{{.Version}}\n")
	for _, s := range settings {
		if s.flag != "" {
			c.Flags().String(s.flag, s.value, s.what+" ("+s.env+")")
		}
	}
	c.Flags().BoolVar(&check, "check", false, "check the settings, the templates, the token and the backend, and exit")
	return c
}
