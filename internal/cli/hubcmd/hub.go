// Package hubcmd is the program slipway-hub.
package hubcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/docker/go-units"
	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/hub"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/internal/cli/command"
	"github.com/slipway-ci/slipway/internal/version"
)

// envPrefix comes before a flag's name in the environment.
const envPrefix = "SLIPWAY_"

type settings struct {
	config    hub.Config
	logLevel  string
	logJSON   bool
	freshAdm  bool
	bytes     map[string]*int64
	bytesText map[string]*string
}

// Root makes the command.
func Root() *cobra.Command {
	s := &settings{}
	c := &cobra.Command{
		Use: "slipway-hub", Short: "Serve Slipway's job queue",
		Long: `Serve Slipway's job queue: the API for jobs and tokens, and the API of
provisioners and runners. The first start prints the admin token, once, on
standard output. Every flag can be given as a variable: --data is SLIPWAY_DATA.

It launches nothing by itself. See docs/hub.md for what runs the jobs.`,
		Version: version.Line("slipway-hub"), Args: command.Args(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := command.FromEnv(c, envPrefix); err != nil {
				return err
			}
			return s.run(c)
		},
	}
	c.SetVersionTemplate("{{.Version}}\n")
	s.flags(c)
	return c
}

func (s *settings) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&s.config.Listen, "listen", hub.DefaultListen, "address of the main listener; port 0 takes a free one")
	f.BoolVar(&s.config.AllowRemote, "allow-remote", false, "allow a --listen address that is not loopback: tokens then cross the network unencrypted")
	f.StringVar(&s.config.DataDir, "data", defaultData(), "folder that holds all state")
	f.StringVar(&s.config.RunnerURL, "runner-url", "", "where runners reach this hub, as the doctor and provisioners in this process are told (default: found out)")
	f.StringArrayVar(&s.config.RunnerListen, "runner-listen", nil, "further address, for the routes of runners alone; may be given many times")
	f.BoolVar(&s.config.ContainerBridges, "container-bridges", runtime.GOOS == "linux", "serve the routes of runners on this machine's container bridges")
	f.DurationVar(&s.config.LeaseTTL, "lease-ttl", 90*time.Second, "how long a runner may go without renewing its lease")
	f.DurationVar(&s.config.JobTimeout, "job-timeout", time.Hour, "timeout of jobs that name none")
	f.DurationVar(&s.config.KeepJobs, "keep-jobs", 14*24*time.Hour, "how long finished jobs and their logs are kept")
	f.DurationVar(&s.config.KeepEvents, "keep-events", 30*24*time.Hour, "how long the events of finished jobs are kept")
	s.size(c, &s.config.KeepBytes, "keep-bytes", "10GiB", "how much jobs and logs may take up")
	s.size(c, &s.config.LogLimit, "log-limit", "16MiB", "how much of one job's log is kept")
	s.size(c, &s.config.MinFree, "min-free", "256MiB", "with less free on the disk no new jobs are accepted")
	f.Float64Var(&s.config.MinFreePercent, "min-free-percent", 5, "the same, in percent of the disk")
	s.size(c, &s.config.Reserve, "reserve", "32MiB", "size of the file that is given up when the disk is full")
	f.DurationVar(&s.config.ShutdownTimeout, "shutdown-timeout", 10*time.Second, "how long a stop waits for requests under way")
	f.BoolVar(&s.freshAdm, "new-admin-token", false, "make one more admin token and print it")
	f.StringVar(&s.logLevel, "log-level", "info", "trace, debug, info, warn or error")
	f.BoolVar(&s.logJSON, "log-json", false, "log in JSON")
}

// size is a flag that takes bytes, as 512MiB.
func (s *settings) size(c *cobra.Command, to *int64, name, value, usage string) {
	if s.bytes == nil {
		s.bytes, s.bytesText = map[string]*int64{}, map[string]*string{}
	}
	s.bytes[name], s.bytesText[name] = to, c.Flags().String(name, value, usage)
}

func (s *settings) check(c *cobra.Command) error {
	for name, text := range s.bytesText {
		n, err := units.RAMInBytes(*text)
		if err != nil || n <= 0 {
			return command.Usage(c, "--%s is %q: a size such as 512MiB is needed", name, *text)
		}
		*s.bytes[name] = n
	}
	if hclog.LevelFromString(s.logLevel) == hclog.NoLevel {
		return command.Usage(c, "--log-level is %q: trace, debug, info, warn or error is allowed", s.logLevel)
	}
	return nil
}

func (s *settings) run(c *cobra.Command) error {
	if err := s.check(c); err != nil {
		return err
	}
	s.config.Logger = hclog.New(&hclog.LoggerOptions{
		Name: "slipway-hub", Output: c.ErrOrStderr(), Level: hclog.LevelFromString(s.logLevel), JSONFormat: s.logJSON,
	})
	h, err := hub.Open(c.Context(), s.config)
	switch {
	case errors.Is(err, hub.ErrConfig):
		return command.Usage(c, "%w", err)
	case errors.Is(err, store.ErrLocked):
		return fmt.Errorf("%s is in use by another hub: stop it, or choose another folder with --data", s.config.DataDir)
	case errors.Is(err, hub.ErrListen):
		return fmt.Errorf("%w (choose another address with --listen)", err)
	case err != nil:
		return err
	}
	if err := s.greet(c.Context(), c.OutOrStdout(), h); err != nil {
		return errors.Join(err, h.Close())
	}
	return h.Run(c.Context())
}

// greet prints where the hub is and the admin token, if there is a new one. It is
// the one place where a secret is printed.
func (s *settings) greet(ctx context.Context, out io.Writer, h *hub.Hub) error {
	token := h.AdminToken()
	if s.freshAdm && token.IsZero() {
		var err error
		if token, err = h.NewAdminToken(ctx, "command line"); err != nil {
			return err
		}
	}
	text := "slipway-hub: listening on " + h.URL() + "\n"
	if !token.IsZero() {
		text += "slipway-hub: the admin token, shown this once:\n" + token.Reveal() + "\n"
	}
	if _, err := io.WriteString(out, text); err != nil {
		return fmt.Errorf("print the admin token: %w", err)
	}
	return nil
}

// defaultData is /var/lib/slipway for root, else a folder of the user's.
func defaultData() string {
	if os.Getuid() == 0 {
		return "/var/lib/slipway"
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "slipway")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "slipway-data"
	}
	return filepath.Join(home, ".local", "state", "slipway")
}
