package cli

import (
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/slipway-ci/slipway/internal/cli/command"
	"github.com/slipway-ci/slipway/internal/demo"
)

// terminal is a file that is one.
type terminal struct{ *os.File }

// Size is the terminal's, or the size that terminals have had for ever.
func (t terminal) Size() (width, height int) {
	width, height, err := term.GetSize(int(t.Fd()))
	if err != nil || width < 1 || height < 1 {
		return 80, 24
	}
	return width, height
}

func demoCommand() *cobra.Command {
	var config demo.Config
	var verbose bool
	c := &cobra.Command{
		Use: "demo", Short: "Show the whole way of a few jobs, on this machine, and leave nothing behind",
		Long: `Start a hub with its queue on a loopback port, the loop, and a backend, submit
jobs, and show each one going from queued to succeeded. Nothing is left behind.

With --backend auto, runners are containers where a Docker engine answers and
the image is there or can be pulled; else they are processes of this machine.`,
		Args: command.Args(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			if config.Jobs < 1 || config.Timeout <= 0 {
				return command.Usage(c, "--jobs and --timeout must be above 0")
			}
			if verbose {
				config.Logger = hclog.New(&hclog.LoggerOptions{Name: "demo", Output: c.ErrOrStderr(), Level: hclog.Debug})
			}
			config.Out = c.OutOrStdout()
			if f, ok := config.Out.(*os.File); ok && !verbose && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
				config.Screen = terminal{f}
			}
			// A reader that goes away must not end the program before it has cleaned up.
			pipes := make(chan os.Signal, 1)
			signal.Notify(pipes, syscall.SIGPIPE)
			defer signal.Stop(pipes)
			err := demo.Run(c.Context(), config)
			if errors.Is(err, demo.ErrUsage) {
				return command.Usage(c, "%w", err)
			}
			return err
		},
	}
	f := c.Flags()
	f.IntVar(&config.Jobs, "jobs", 5, "how many jobs")
	f.StringVar(&config.Backend, "backend", demo.BackendAuto, "auto, process or docker")
	f.StringVar(&config.Image, "image", "alpine:3", "image of the runners on Docker")
	f.DurationVar(&config.Timeout, "timeout", 5*time.Minute, "how long it may take")
	f.BoolVarP(&verbose, "verbose", "v", false, "log what the hub, the loop and the backend do, on standard error")
	return c
}
