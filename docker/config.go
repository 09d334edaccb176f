package docker

import (
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Config is what New needs. Only Owner has no default.
type Config struct {
	// Owner is whose runners these are: 1 to 128 bytes, stable through restarts,
	// not secret. Required.
	Owner string

	// AdoptOwners are former names of the owner: their runners are ours too. What
	// is launched bears Owner.
	AdoptOwners []string

	// Host is where the engine listens: unix:///path, tcp://host:port or
	// ssh://[user@]host[:port]. Default: DOCKER_HOST, then the local socket.
	Host string
	// CertPath is a folder with ca.pem, cert.pem and key.pem for tcp with TLS in
	// both directions. Default, where Host comes from the environment as well:
	// DOCKER_CERT_PATH, or the Docker config folder when DOCKER_TLS_VERIFY is set.
	CertPath string
	// SkipVerify does not check the engine's certificate. With the environment's
	// CertPath it is set when DOCKER_TLS_VERIFY is empty, as in Docker's own programs.
	SkipVerify bool

	// Schema says which label holds what; default slipway.*, see Schema.
	Schema Schema
	// NamePrefix and the runner's id make the container's name; default "slipway-".
	NamePrefix string
	// PlainNames names containers after their ids alone, without NamePrefix;
	// networks and volumes keep it.
	PlainNames bool

	// Network is the network of runners whose spec names none. Default: one of
	// this owner alone, created when it is first needed, without traffic
	// between its containers.
	Network string
	// ExtraHosts are lines name:address for /etc/hosts. Default (nil):
	// host.docker.internal:host-gateway where the engine knows it. Empty: none.
	ExtraHosts []string
	// LogDriver and LogOptions are the engine's; default "local", which bounds
	// itself to 100 MB a container.
	LogDriver  string
	LogOptions map[string]string
	// PidsLimit is for specs without one; default 4096.
	PidsLimit int64
	// AllowedBinds are the folders of the host below which binds may lie, each
	// an absolute path. Default: no bind is allowed.
	AllowedBinds []string

	// Review judges each launch and each Prepare by the whole request as it goes to
	// the engine, before anything is pulled or created: an error refuses it, as
	// ErrRefused. It may be called from many goroutines at once. With it images
	// are sent in canonical form, and a container that an earlier launch left half
	// made is not finished but made anew. Default: nothing is refused.
	Review func(Request) error
	// MaxRunners is how many runners of this owner may live at once, those that it
	// adopts counted; one more is ErrExhausted. Default 0: no bound.
	MaxRunners int

	// Runner tells the path of the static one-job runner program for a platform,
	// in Go's words; an error that is fs.ErrNotExist means that there is none.
	// Default: specs with InjectRunner are invalid.
	Runner func(ctx context.Context, os, arch string) (string, error)
	// RunnerPath is where it is put; default /.slipway/slipway-runner. Its folder
	// becomes a volume of the runner's own.
	RunnerPath string
	// RunnerArgs are its arguments; default none.
	RunnerArgs []string
	// CARoots are certificates in PEM that are put beside it, named to it in
	// SLIPWAY_CA_FILE. Default: this machine's own bundle, where there is one.
	CARoots []byte

	// ConfigDir is the folder of the Docker config file with the credentials for
	// registries; default DOCKER_CONFIG, then ~/.docker. It is read for each pull.
	ConfigDir string
	// PullTimeout bounds one pull; default 30 min.
	PullTimeout time.Duration
	// PullWindow is how long after a pull, for instance by Prepare, Launch takes
	// an image of policy "always" for just pulled; default 2 min.
	PullWindow time.Duration
	// LaunchTimeout bounds what a Launch whose caller went away still does to
	// come to an end; default 2 min.
	LaunchTimeout time.Duration
	// StopGrace is how long a running runner has between the request to end
	// (SIGTERM, or what its image names as stop signal) and being killed by
	// Remove, rounded up to whole seconds; default 5 s, negative: none.
	StopGrace time.Duration

	// Logger gets pulls, with their progress, and what is odd; nil discards.
	Logger hclog.Logger
}

const maxOwner = 128

// nameForm is what the engine takes as a name of a container or volume.
var nameForm = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$`)

func (c Config) withDefaults() Config {
	c.Schema = c.Schema.withDefaults()
	if c.NamePrefix == "" {
		c.NamePrefix = "slipway-"
	}
	if c.LogDriver == "" && c.LogOptions == nil {
		c.LogDriver = "local"
	}
	if c.PidsLimit == 0 {
		c.PidsLimit = 4096
	}
	if c.RunnerPath == "" {
		c.RunnerPath = "/.slipway/slipway-runner"
	}
	if c.CARoots == nil && c.Runner != nil {
		c.CARoots = systemRoots()
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.PullTimeout, 30 * time.Minute},
		{&c.PullWindow, 2 * time.Minute},
		{&c.LaunchTimeout, 2 * time.Minute},
		{&c.StopGrace, 5 * time.Second},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	c.StopGrace = max(c.StopGrace, 0)
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}

func (c Config) validate() error {
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("docker: Config.%s: %s", field, fmt.Sprintf(format, args...)))
	}
	if len(c.Owner) == 0 || len(c.Owner) > maxOwner || !printable(c.Owner) {
		bad("Owner", "1 to %d printable bytes are needed", maxOwner)
	}
	if !nameForm.MatchString(c.NamePrefix) || len(c.NamePrefix) > 64 {
		bad("NamePrefix", "%q: up to 64 of a-z A-Z 0-9 _ . - are allowed, the first a letter or a digit", c.NamePrefix)
	}
	if !cleanPath(c.RunnerPath) || path.Dir(c.RunnerPath) == "/" {
		bad("RunnerPath", "%q: a clean absolute path below a folder is needed", c.RunnerPath)
	}
	for _, prefix := range c.AllowedBinds {
		if !cleanPath(prefix) {
			bad("AllowedBinds", "%q: a clean absolute path is needed", prefix)
		}
	}
	if c.MaxRunners < 0 {
		bad("MaxRunners", "%d is below 0", c.MaxRunners)
	}
	for field, d := range map[string]time.Duration{
		"PullTimeout": c.PullTimeout, "PullWindow": c.PullWindow, "LaunchTimeout": c.LaunchTimeout,
	} {
		if d < 0 {
			bad(field, "%v is below 0", d)
		}
	}
	if err := c.Schema.validate(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func cleanPath(p string) bool { return path.IsAbs(p) && path.Clean(p) == p }

func printable(s string) bool {
	for _, r := range s {
		if r < ' ' || r == 0x7f || r == 0xfffd {
			return false
		}
	}
	return true
}
