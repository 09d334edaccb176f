package agent

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/internal/version"
	"github.com/slipway-ci/slipway/tokens"
)

// Config is what an Agent is made from. Zero values mean the defaults.
type Config struct {
	// Hub is the hub's URL, http or https, without a path of an API. Required.
	Hub string
	// InsecureHTTP allows a Hub that is neither https nor on this machine: the
	// token and the runners' secrets then cross the network unencrypted.
	InsecureHTTP bool
	// Token gives the agent's own credential, and is asked for each connection:
	// where there are two, because the hub is not known to take the newer one yet,
	// the newer one first. It goes into the Authorization header and nowhere else.
	// Required.
	Token func() tokens.Token
	// Backend is where this host's runners live. Required.
	Backend backend.Backend
	// ID is the agent's id, the same for ever. Required.
	ID string
	// Engine is the id of the engine behind Backend; empty where it has none.
	Engine string
	// Version is told to the hub for display; default the build's own.
	Version string
	// Facts are told to the hub; zero fields are filled in from this machine.
	Facts Facts

	// Look tells the facts as they are now: it is asked before each connection and
	// every FactsInterval, and what is different is told to the hub. Zero fields are
	// filled in as those of Facts are. An error leaves the facts as they were told
	// last. Nil: Facts, for ever.
	Look func(ctx context.Context) (Facts, error)
	// FactsInterval is the time between two; default 1 min.
	FactsInterval time.Duration

	// Accepted and Refused are told of the token of each connection that the hub
	// let in, or did not, because of its token. After a refusal Token is asked
	// again, and another token is tried at once. Default: nobody is told.
	Accepted, Refused func(tokens.Token)
	// Rotate makes a new token, keeps it beside the one there is, and tells its
	// digest: Token gives it from then on. What it gave, and is not known to be
	// accepted, it may give again. Nil: the hub is told that this can't be done.
	Rotate func(ctx context.Context) (tokens.Digest, error)
	// Update fetches, checks and puts in place that version of this program. The
	// hub is answered when it returns; a restart is to come a moment after that.
	// Runners must not notice. Nil: the hub is told that this can't be done.
	Update func(ctx context.Context, version string) error
	// Stats tells how busy the host is. Nil: the hub is told that this can't be done.
	Stats func(ctx context.Context) (Stats, error)
	// Removed is told that the hub has removed this host for good, at most once
	// between two sessions. No session comes of that token any more; the agent
	// tries on, seldom. Its ctx ends with the agent's. Default: nobody is told.
	Removed func(ctx context.Context)

	// LookInterval is the time between two looks at the backend when nothing
	// hinted at a change; default 10 s. A backend that gives no hints is looked
	// at every 2 s, or at this interval if it is shorter.
	LookInterval time.Duration
	// LookSpacing is the least time between two looks; default 100 ms.
	LookSpacing time.Duration
	// LookTimeout bounds one look; default 30 s. An engine that takes longer can't
	// be observed, and the hub is told so.
	LookTimeout time.Duration
	// CallTimeout bounds a request that names no limit; default 2 min.
	CallTimeout time.Duration
	// CutOff is how long there must have been no hub until this agent enforces
	// the maximum lifetimes itself; default 1 min.
	CutOff time.Duration
	// RetryMin and RetryMax bound the growing, jittered pause between two
	// connections; defaults 500 ms and 1 min.
	RetryMin, RetryMax time.Duration

	// TLS is for connections to an https hub; nil: the system's defaults.
	TLS *tls.Config
	// Dial opens the network connection; nil: the system's, with HTTPS_PROXY and
	// its like.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Logger; nil discards.
	Logger hclog.Logger
}

// Facts describe the host.
type Facts struct {
	// OS and Arch are in Go's words; default this program's.
	OS, Arch string
	// CPUs is how many there are; default what this process may use.
	CPUs int
	// Memory is in bytes; default the machine's, where that can be told.
	Memory int64
	// Runtimes are the engine's, by the names that a spec's Runtime may have.
	Runtimes []string
	// GPUs are the devices that may be given to runners, by the ids that a spec's
	// GPUIDs may have.
	GPUs []GPU
	// Disk is where the engine keeps images and runners; zero: not known.
	Disk Disk
	// EngineVersion is for display.
	EngineVersion string
	// MaxRunners is what this host's own policy allows at once; 0: no bound.
	MaxRunners int
	// UpdateForbidden: this host's own policy does not let the hub update the agent.
	UpdateForbidden bool
	// Hints are free text about the engine and the host. No secrets.
	Hints map[string]string
}

// GPU is one device.
type GPU struct {
	// ID is what the engine's GPU tooling knows it by; Name is for display.
	ID, Name string
}

// Disk is how full a disk is.
type Disk struct {
	// Free and Total are in bytes.
	Free, Total int64
}

// Stats are how busy the host is.
type Stats struct {
	// CPUs is how many are busy, such as 3.2.
	CPUs float64
	// Memory is how many bytes are in use.
	Memory int64
	// Load is the load average of the last minute.
	Load float64
	// Disk is where the engine keeps images and runners; zero: not known.
	Disk Disk
}

func (c Config) withDefaults() Config {
	c.Version = cmp.Or(c.Version, version.String())
	c.Facts = c.Facts.withDefaults()
	c.FactsInterval = cmp.Or(c.FactsInterval, time.Minute)
	c.LookInterval = cmp.Or(c.LookInterval, 10*time.Second)
	c.LookSpacing = cmp.Or(c.LookSpacing, 100*time.Millisecond)
	c.LookTimeout = cmp.Or(c.LookTimeout, 30*time.Second)
	c.CallTimeout = cmp.Or(c.CallTimeout, 2*time.Minute)
	c.CutOff = cmp.Or(c.CutOff, time.Minute)
	c.RetryMin = cmp.Or(c.RetryMin, 500*time.Millisecond)
	c.RetryMax = max(cmp.Or(c.RetryMax, time.Minute), c.RetryMin)
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}

func (c Config) validate() error {
	var errs []error
	if _, err := c.endpoint(); err != nil {
		errs = append(errs, err)
	}
	if c.Token == nil {
		errs = append(errs, errors.New("field Token is needed"))
	}
	if c.Backend == nil {
		errs = append(errs, errors.New("field Backend is needed"))
	}
	if c.ID == "" || len(c.ID) > 128 || len(c.Engine) > 128 {
		errs = append(errs, errors.New("field ID is needed, and neither it nor Engine may have more than 128 bytes"))
	}
	for name, d := range map[string]time.Duration{
		"FactsInterval": c.FactsInterval, "LookInterval": c.LookInterval, "LookSpacing": c.LookSpacing, "LookTimeout": c.LookTimeout, "CallTimeout": c.CallTimeout, "CutOff": c.CutOff, "RetryMin": c.RetryMin, "RetryMax": c.RetryMax,
	} {
		if d < 0 {
			errs = append(errs, fmt.Errorf("field %s is %s: it must not be negative", name, d))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return nil
}

// endpoint is where the hub takes connections.
func (c Config) endpoint() (string, error) {
	u, err := url.Parse(c.Hub)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", errors.New("field Hub is no URL such as https://hub.example.com")
	}
	switch u.Scheme {
	case "https":
		u.Scheme = "wss"
	case "http":
		if !c.InsecureHTTP && !loopback(u.Hostname()) {
			return "", errors.New("field Hub is http and not on this machine: it must be https, unless InsecureHTTP is set")
		}
		u.Scheme = "ws"
	default:
		return "", errors.New("field Hub must be http or https")
	}
	u.Path = strings.TrimSuffix(u.Path, "/") + path
	return u.String(), nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
