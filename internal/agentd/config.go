package agentd

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/internal/agentd/engine"
	"github.com/slipway-ci/slipway/tokens"
)

// DefaultData is the data folder of an agent that runs as root.
const DefaultData = "/var/lib/slipway-agent"

// DefaultPolicy is where the policy is looked for.
var DefaultPolicy = "/etc/slipway-agent/agent.yaml"

// LocalTokenEnv holds the credential of an agent beside its hub.
const LocalTokenEnv = "SLIPWAY_LOCAL_AGENT_TOKEN"

// Config is what Run needs.
type Config struct {
	// Data is the data folder. Required.
	Data string
	// Hub is the hub's URL; default the one that the agent is enrolled with.
	Hub string
	// InsecureHTTP allows a hub that is neither https nor on this machine.
	InsecureHTTP bool
	// LocalToken is the credential of an agent that is not enrolled: it is set on
	// the hub as well. Default: the data folder's own.
	LocalToken tokens.Token
	// Backend is docker or process; default docker.
	Backend string
	// DockerHost is where the engine listens; default DOCKER_HOST, then the local
	// socket.
	DockerHost string
	// Policy is the policy file. Default: DefaultPolicy, if it is there; if not, the
	// default policy is in force.
	Policy string
	// DefaultPolicy is where it is looked for; default the package's.
	DefaultPolicy string
	// HostRoot is where the host's root is mounted; default /.
	HostRoot string
	// CAFile holds certificates in PEM that are trusted beside the system's.
	CAFile string
	// HTTPAddr is where health and metrics are served; off or empty: nowhere.
	HTTPAddr string
	// Executable is the program that runs; default found out.
	Executable string
	// Version is what this program is; default the build's own.
	Version string
	// UpdateDeadline is how long a new version has until the hub must have welcomed
	// it; default 2 min.
	UpdateDeadline time.Duration
	// Tick is the time between two looks at the data folder and the engine; default 5 s.
	Tick time.Duration
	// Logger; nil discards.
	Logger hclog.Logger
}

func (c Config) withDefaults() Config {
	if c.Backend == "" {
		c.Backend = "docker"
	}
	if c.HostRoot == "" {
		c.HostRoot = "/"
	}
	if c.HTTPAddr == "" {
		c.HTTPAddr = "off"
	}
	if c.DefaultPolicy == "" {
		c.DefaultPolicy = DefaultPolicy
	}
	if c.Tick == 0 {
		c.Tick = 5 * time.Second
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}

func (c Config) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Data == "" {
		bad("--data is empty: a folder is needed")
	}
	if c.Backend != "docker" && c.Backend != "process" {
		bad("--backend is %q: docker or process is allowed", c.Backend)
	}
	if !filepath.IsAbs(c.HostRoot) {
		bad("--host-root is %q: an absolute path is needed", c.HostRoot)
	}
	if _, _, err := net.SplitHostPort(c.HTTPAddr); err != nil && c.HTTPAddr != "off" {
		bad("--http-addr is %q: host:port or off is needed", c.HTTPAddr)
	}
	if c.Hub != "" {
		if _, err := hubURL(c.Hub, c.InsecureHTTP); err != nil {
			errs = append(errs, err)
		}
	}
	if !c.LocalToken.IsZero() && c.LocalToken.Kind() != tokens.Agent {
		bad("%s is no agent's token: one that begins with sf_agt_ is needed", LocalTokenEnv)
	}
	if !c.LocalToken.IsZero() && c.Hub == "" {
		bad("%s is set without --hub: a local agent is enrolled with none, so it must be told", LocalTokenEnv)
	}
	return errors.Join(errs...)
}

// hubURL checks a hub's URL and returns it in the form in which it is kept.
func hubURL(text string, insecure bool) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", errors.New("--hub must be a URL such as https://hub.example.com") // it may hold a password: not told
	}
	ip := net.ParseIP(u.Hostname())
	if u.Scheme == "http" && !insecure && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return "", errors.New("--hub is http and not on this machine: it must be https, unless --insecure-http is set")
	}
	return strings.TrimSuffix(u.String(), "/"), nil
}

// roots reads the certificates that are trusted beside the system's. Both results
// are nil where there are none.
func (c Config) roots() (*tls.Config, []byte, error) {
	if c.CAFile == "" {
		return nil, nil, nil
	}
	pem, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, nil, fmt.Errorf("--ca-file: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, nil, fmt.Errorf("--ca-file: %s holds no certificate", c.CAFile)
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, pem, nil
}

// runnersName is the folder of runners that are processes, in the data folder.
const runnersName = "runners"

// engine says how the engine is opened for an owner.
func (c Config) engine(owner string, rules guard) engine.Config {
	return engine.Config{
		Kind: c.Backend, Owner: owner, Rules: rules.Policy, DockerHost: c.DockerHost, HostRoot: c.HostRoot,
		Dir: filepath.Join(c.Data, runnersName), Logger: c.Logger,
	}
}

// executable is the program that runs.
func (c Config) executable() (string, error) {
	if c.Executable != "" {
		return c.Executable, nil
	}
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	return self, nil
}
