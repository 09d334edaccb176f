package hub

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/hub/hosts/form"
	"github.com/slipway-ci/slipway/hub/install"
	"github.com/slipway-ci/slipway/tokens"
)

// DefaultListen is where a hub listens unless it is told otherwise.
const DefaultListen = "127.0.0.1:8570"

// Config is what Open needs. Only DataDir has no default.
type Config struct {
	// DataDir holds all state; made with mode 0700 if missing. Required.
	DataDir string
	// Listen is the address of the main listener, which serves every route in
	// plain HTTP; port 0 takes a free one; default DefaultListen.
	Listen string
	// MasterKey encrypts what must be read back: 32 bytes in hex or base64. Default:
	// the first key in MasterKeyFile, which is made when there is none yet; default
	// of that: the path of DataDir with ".key" at its end. PreviousKeys still open
	// what they sealed; so do the further lines of the file. See package vault.
	MasterKey, MasterKeyFile string
	PreviousKeys             []string
	// TLSCert and TLSKey are files, in PEM, that the main listener speaks TLS with;
	// renewed files are taken over while it runs. Default: plain HTTP.
	TLSCert, TLSKey string
	// InsecureHTTP allows a Listen address that is not loopback without TLS, and a
	// PublicURL that is http. Tokens and jobs then cross the network unencrypted,
	// unless something in front encrypts.
	InsecureHTTP bool
	// PublicURL is where hosts reach this hub: what install lines and scripts are
	// made of, and nothing else. Without it no host can be enrolled.
	PublicURL string
	// TrustedProxies are the addresses from which X-Forwarded-For is believed;
	// default none.
	TrustedProxies []netip.Prefix
	// RunnerListen are further addresses, on which the routes of runners are
	// served and no other; port 0 takes a free one; default none.
	RunnerListen []string
	// ContainerBridges serves the routes of runners on the addresses of this
	// machine's container bridges too, on the main listener's port, as they come
	// and go. Linux only; default false.
	ContainerBridges bool
	// RunnerURL is where runners reach this hub, as provisioners in this process
	// and the doctor tell it; default: see Hub.RunnerURL.
	RunnerURL string

	// LeaseTTL is how long a runner may go without renewing its lease; default 90 s.
	LeaseTTL time.Duration
	// ReservationTTL is how long jobs stay promised to a provisioner that names no
	// time; default 60 s.
	ReservationTTL time.Duration
	// JobTimeout is for jobs that name none; default 1 h.
	JobTimeout time.Duration
	// LogLimit is how many bytes of one job's log are kept; default 16 MiB.
	LogLimit int64

	// KeepJobs is how long finished jobs and their logs are kept; default 14 days.
	KeepJobs time.Duration
	// KeepBytes is how much jobs and logs may take up; default 10 GiB.
	KeepBytes int64
	// KeepEvents is how long the events of finished jobs are kept; default 30 days.
	KeepEvents time.Duration
	// MinFree and MinFreePercent are how much of the disk must be free for new
	// jobs; defaults 256 MiB and 5 %.
	MinFree        int64
	MinFreePercent float64
	// Reserve is the size of the file that is given up when the disk is full;
	// default 32 MiB.
	Reserve int64

	// AgentsDir holds the agents that hosts fetch, see package install; default: the
	// slipway-agent beside this program, for its own platform.
	AgentsDir string
	// SysboxFile replaces the table of where sysbox-runc comes from; default: the
	// build's own.
	SysboxFile string
	// LocalAgentToken is the credential of an agent beside the hub, which needs no
	// enrolment then; default none.
	LocalAgentToken tokens.Token
	// DefaultImage is for scale sets that name none; default none.
	DefaultImage string
	// AllowedBinds are the folders of hosts that scale sets may bind; default none.
	// A host's own policy allows them as well, or does not.
	AllowedBinds []string
	// Heartbeat is the pace of agents' heartbeats; default 15 s. LostAfter is how
	// long a host may be away until its runners are told as ended; default 10 min.
	Heartbeat, LostAfter time.Duration
	// LaunchParallelism is how many launches are under way at once; default 16.
	LaunchParallelism int
	// RunnerMaxLifetime is how long a runner may live, for scale sets that say
	// none; default 1 h.
	RunnerMaxLifetime time.Duration
	// Shipfox makes the hub a provisioner of a Shipfox API too, for scale sets whose
	// control plane is "shipfox"; default: it is none.
	Shipfox Shipfox

	// DrainTimeout bounds how long a stop waits for launches under way; default 20 s.
	DrainTimeout time.Duration
	// ShutdownTimeout bounds how long requests under way are waited for; default 10 s.
	ShutdownTimeout time.Duration
	// Logger; nil discards.
	Logger hclog.Logger
}

// Shipfox is a Shipfox API.
type Shipfox struct {
	// URL is the API's; empty: none.
	URL string
	// RunnerURL is where runners reach it; default URL.
	RunnerURL string
	// Token is a provisioner's. Required with a URL.
	Token tokens.Token
}

func (c Config) withDefaults() Config {
	if c.Listen == "" {
		c.Listen = DefaultListen
	}
	if host, _, err := net.SplitHostPort(c.Listen); err == nil && everywhere(host) {
		c.ContainerBridges = false // the main listener is on them already
	}
	if c.LogLimit == 0 {
		c.LogLimit = 16 << 20
	}
	if c.DrainTimeout == 0 {
		c.DrainTimeout = 20 * time.Second
	}
	if c.RunnerMaxLifetime == 0 {
		c.RunnerMaxLifetime = time.Hour
	}
	if c.ShutdownTimeout == 0 {
		c.ShutdownTimeout = 10 * time.Second
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}

// renewInterval is how often a runner renews its lease, by the queue's default.
const renewInterval = 10 * time.Second

func (c Config) validate() error {
	bad := func(field, format string, args ...any) error {
		return fmt.Errorf("%w: %s %w", ErrConfig, field, fmt.Errorf(format, args...))
	}
	if c.DataDir == "" {
		return bad("DataDir", "is empty")
	}
	if c.AgentsDir != "" {
		if info, err := os.Stat(c.AgentsDir); err != nil || !info.IsDir() {
			return bad("AgentsDir", "is %q: a folder that is there is needed", c.AgentsDir)
		}
	}
	if c.SysboxFile != "" {
		if _, err := install.ReadSysbox(c.SysboxFile); err != nil {
			return bad("SysboxFile", "can't be used: %w", err)
		}
	}
	host, _, err := net.SplitHostPort(c.Listen)
	switch {
	case err != nil:
		return bad("Listen", "is %q: host:port is needed", c.Listen)
	case (c.TLSCert == "") != (c.TLSKey == ""):
		return bad("TLSCert", "and TLSKey go together: one of them is empty")
	case !c.InsecureHTTP && c.TLSCert == "" && !loopback(host):
		return bad("Listen", "is %q: beyond loopback TLSCert and TLSKey are needed, or InsecureHTTP must be set", c.Listen)
	}
	for _, address := range c.RunnerListen {
		if _, _, err := net.SplitHostPort(address); err != nil {
			return bad("RunnerListen", "has %q: host:port is needed", address)
		}
	}
	if c.RunnerURL != "" {
		u, err := url.Parse(c.RunnerURL)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.User != nil {
			return bad("RunnerURL", "is %q: an http or https URL without a query is needed", c.RunnerURL)
		}
	}
	if _, err := form.PublicURL(c.PublicURL, c.InsecureHTTP); err != nil {
		return bad("PublicURL", "%w", err)
	}
	return c.validateLimits(bad)
}

func (c Config) validateLimits(bad func(field, format string, args ...any) error) error {
	for _, life := range []struct {
		field string
		d     time.Duration
	}{
		{"ReservationTTL", c.ReservationTTL}, {"JobTimeout", c.JobTimeout}, {"KeepJobs", c.KeepJobs}, {"KeepEvents", c.KeepEvents}, {"Heartbeat", c.Heartbeat}, {"LostAfter", c.LostAfter},
		{"RunnerMaxLifetime", c.RunnerMaxLifetime}, {"DrainTimeout", c.DrainTimeout}, {"ShutdownTimeout", c.ShutdownTimeout},
	} {
		if life.d < 0 {
			return bad(life.field, "is %s: it can't be negative", life.d)
		}
	}
	switch {
	case c.Shipfox.URL != "" && c.Shipfox.Token.IsZero():
		return bad("Shipfox.Token", "is empty: a provisioner's token is needed")
	case c.Shipfox.URL != "" && c.Shipfox.Token.Kind() != tokens.Provisioner:
		return bad("Shipfox.Token", "is %s: a provisioner's token is needed", c.Shipfox.Token)
	case !c.LocalAgentToken.IsZero() && c.LocalAgentToken.Kind() != tokens.Agent:
		return bad("LocalAgentToken", "is %s: an agent's token (sf_agt_…) is needed", c.LocalAgentToken)
	case c.LaunchParallelism < 0:
		return bad("LaunchParallelism", "is %d: it can't be negative", c.LaunchParallelism)
	case c.LeaseTTL != 0 && c.LeaseTTL <= renewInterval:
		return bad("LeaseTTL", "is %s: more than %s is needed, since runners renew so often", c.LeaseTTL, renewInterval)
	case c.MinFreePercent < 0 || c.MinFreePercent > 100:
		return bad("MinFreePercent", "is %v: 0 to 100 is allowed", c.MinFreePercent)
	}
	return nil
}

// everywhere says whether a listener on host takes connections to any address.
func everywhere(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "" || err == nil && addr.IsUnspecified()
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
