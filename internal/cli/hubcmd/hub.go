// Package hubcmd is the program slipway-hub.
package hubcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/hub"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/hub/vault"
	"github.com/slipway-ci/slipway/internal/cli/command"
	"github.com/slipway-ci/slipway/internal/logsink"
	"github.com/slipway-ci/slipway/internal/version"
	"github.com/slipway-ci/slipway/tokens"
)

// envPrefix comes before a flag's name in the environment.
const envPrefix = "SLIPWAY_"

type settings struct {
	config    hub.Config
	logLevel  string
	logJSON   bool
	freshAdm  bool
	proxies   []string
	bytes     map[string]*int64
	bytesText map[string]*string
}

// Root makes the command.
func Root() *cobra.Command {
	s := &settings{}
	c := &cobra.Command{
		Use: "slipway-hub", Short: "Serve a Slipway hub",
		Long: `Serve a Slipway hub: hosts and scale sets, the job queue, and the API of
provisioners and runners. The first start prints the admin token, once, on
standard output. Every flag can be given as a variable: --data is SLIPWAY_DATA.

It owns no engine: agents on hosts dial in, and launch what it decides. Add one
with slipway hosts add. See docs/hub.md.`,
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
	c.AddCommand(backupCommand(), restoreCommand(), rotateKeyCommand(), forgetKeyCommand())
	return c
}

func (s *settings) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&s.config.Listen, "listen", hub.DefaultListen, "address of the main listener; port 0 takes a free one")
	f.StringVar(&s.config.MasterKeyFile, "master-key-file", "", "file with the key that secrets at rest are encrypted with, outside --data (default: --data with .key at its end); or SLIPWAY_MASTER_KEY holds the key")
	f.StringVar(&s.config.TLSCert, "tls-cert", "", "file with the certificate that --listen speaks TLS with, in PEM; renewed ones are taken over")
	f.StringVar(&s.config.TLSKey, "tls-key", "", "file with its key")
	f.BoolVar(&s.config.InsecureHTTP, "insecure-http", false, "allow plain HTTP beyond loopback: tokens then cross the network unencrypted")
	f.StringVar(&s.config.PublicURL, "public-url", "", "where hosts reach this hub, such as https://hub.example.com: needed to enrol one")
	f.StringVar(&s.config.AgentsDir, "agents-dir", "", "folder with the agents that hosts fetch (default: the slipway-agent beside this program)")
	f.StringVar(&s.config.SysboxFile, "sysbox-file", "", "table of where hosts fetch sysbox-runc, in JSON (default: the build's own)")
	f.StringVar(&s.config.DefaultImage, "default-image", "", "image of scale sets that name none")
	f.StringSliceVar(&s.config.AllowedBinds, "allowed-binds", nil, "folders of hosts that scale sets may bind, with commas between")
	f.DurationVar(&s.config.LostAfter, "lost-after", 10*time.Minute, "how long a host may be away until its runners are told as ended")
	f.DurationVar(&s.config.Heartbeat, "heartbeat", 15*time.Second, "pace of agents' heartbeats; below the idle limit of what is in between")
	f.IntVar(&s.config.LaunchParallelism, "launch-parallelism", 16, "launches under way at once")
	f.DurationVar(&s.config.RunnerMaxLifetime, "runner-max-lifetime", time.Hour, "how long a runner may live, for scale sets that say none")
	f.StringVar(&s.config.Shipfox.URL, "shipfox-url", "", "be a provisioner of this Shipfox API too, for scale sets with control_plane shipfox; SLIPWAY_SHIPFOX_TOKEN or …_FILE holds the token")
	f.StringVar(&s.config.Shipfox.RunnerURL, "shipfox-runner-url", "", "where runners reach it (default: --shipfox-url)")
	f.DurationVar(&s.config.DrainTimeout, "drain-timeout", 20*time.Second, "how long a stop waits for launches under way")
	f.StringSliceVar(&s.proxies, "trusted-proxies", nil, "addresses or networks from which X-Forwarded-For is believed, with commas between")
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
	for _, text := range s.proxies {
		network, err := netip.ParsePrefix(text)
		if addr, bad := netip.ParseAddr(text); bad == nil {
			network, err = addr.Prefix(addr.BitLen())
		}
		if err != nil {
			return command.Usage(c, "--trusted-proxies has %q: an address or a network such as 10.0.0.0/8 is needed", text)
		}
		s.config.TrustedProxies = append(s.config.TrustedProxies, network.Masked())
	}
	for _, bind := range s.config.AllowedBinds {
		if !filepath.IsAbs(bind) {
			return command.Usage(c, "--allowed-binds has %q: absolute paths are needed", bind)
		}
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
	var err error
	if s.config.MasterKey, s.config.PreviousKeys, err = masterKeys(c); err != nil {
		return err
	}
	if s.config.LocalAgentToken, err = secret(c, "SLIPWAY_LOCAL_AGENT_TOKEN"); err != nil {
		return err
	}
	if s.config.Shipfox.Token, err = secret(c, "SLIPWAY_SHIPFOX_TOKEN"); err != nil {
		return err
	}
	sink := logsink.New(c.ErrOrStderr())
	defer sink.Close()
	s.config.Logger = hclog.New(&hclog.LoggerOptions{
		Name: "slipway-hub", Output: sink, Level: hclog.LevelFromString(s.logLevel), JSONFormat: s.logJSON,
	})
	h, err := hub.Open(c.Context(), s.config)
	switch {
	case errors.Is(err, vault.ErrKey):
		return fmt.Errorf("%w: give it with SLIPWAY_MASTER_KEY or --master-key-file; one that is lost for good is given up with slipway-hub forget-key", err)
	case errors.Is(err, hub.ErrConfig):
		return command.Usage(c, "%s", inFlags(err))
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

// secret reads a token from a variable, or from the file that the variable with
// _FILE at its end names; zero: there is none. They are no flags: an argument is
// seen by all users of a machine.
func secret(c *cobra.Command, variable string) (tokens.Token, error) {
	text := os.Getenv(variable)
	if name := os.Getenv(variable + "_FILE"); name != "" {
		if text != "" {
			return tokens.Token{}, command.Usage(c, "%s and %s_FILE are both set: one is needed", variable, variable)
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return tokens.Token{}, command.Usage(c, "%s_FILE: %w", variable, err)
		}
		text = string(data)
	}
	if text = strings.TrimSpace(text); text == "" {
		return tokens.Token{}, nil
	}
	token, err := tokens.Parse(text)
	if err != nil {
		return tokens.Token{}, command.Usage(c, "%s holds no token", variable)
	}
	return token, nil
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
	_, err := io.WriteString(out, text)
	switch {
	case err != nil && !token.IsZero():
		return fmt.Errorf("print the admin token: %w: it is made, and can't be shown again; slipway-hub --new-admin-token prints another", err)
	case err != nil:
		return fmt.Errorf("print where the hub is: %w", err)
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
