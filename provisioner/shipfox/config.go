package shipfox

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/tokens"
)

// Limits of the API.
const (
	maxBatch             = 500  // runners a mint
	maxReservations      = 1000 // runners a poll
	maxEvents            = 1000 // events a report
	maxObserved          = 5000 // runners a reconcile
	maxTemplatesHead     = 1000
	maxTemplatesOld      = 100
	maxBody              = 1 << 20
	maxReason            = 500
	maxReservationTTL    = 600 * time.Second
	bootstrapLifetime    = 300 * time.Second // also of registration tokens
	oldReservationLife   = 60 * time.Second  // ert and pr take no wish
	callTimeout          = 10 * time.Second
	pollGrace            = 15 * time.Second
	defaultURL           = "https://api.shipfox.io"
	defaultProviderKind  = "docker"
	defaultBatch         = 250
	defaultPollDuration  = 5 * time.Minute
	defaultRunnerMaxLife = time.Hour
)

// Config is what a ControlPlane is made from.
type Config struct {
	// URL is the API's base, as CheckURL wants it; a path prefix is kept. Default
	// https://api.shipfox.io.
	URL string
	// RunnerURL is the base that runners are given; default URL.
	RunnerURL string
	// Token is the provisioner token. Required.
	Token tokens.Token
	// ProviderKind names the backend to the service; default docker.
	ProviderKind string
	// BatchSize bounds the runners of one mint; default 250; above 500 is cut.
	BatchSize int
	// PollMaxDuration is how long a runner waits for its job; default 5 min;
	// negative: for ever.
	PollMaxDuration time.Duration
	// MaxLifetime is how long a runner may live, as it is told; default 1 h.
	MaxLifetime time.Duration
	// Client makes the requests; default a client of its own, without a time
	// limit: each call sets its own. Redirects are never followed.
	Client *http.Client
	// Logger; nil discards.
	Logger hclog.Logger
}

func (c Config) withDefaults() Config {
	if c.URL == "" {
		c.URL = defaultURL
	}
	if c.RunnerURL == "" {
		c.RunnerURL = c.URL
	}
	if c.ProviderKind == "" {
		c.ProviderKind = defaultProviderKind
	}
	if c.BatchSize == 0 {
		c.BatchSize = defaultBatch
	}
	c.BatchSize = min(c.BatchSize, maxBatch)
	if c.PollMaxDuration == 0 {
		c.PollMaxDuration = defaultPollDuration
	}
	if c.MaxLifetime == 0 {
		c.MaxLifetime = defaultRunnerMaxLife
	}
	if c.Client == nil {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.MaxIdleConnsPerHost = 32 // runners are announced side by side
		c.Client = &http.Client{Transport: transport}
	}
	own := *c.Client
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.Client = &own
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}

func (c Config) validate() error {
	var errs []error
	for name, text := range map[string]string{"URL": c.URL, "RunnerURL": c.RunnerURL} {
		if err := CheckURL(text); err != nil {
			errs = append(errs, fmt.Errorf("shipfox: %s %w", name, err))
		}
	}
	if c.Token.Kind() != tokens.Provisioner {
		errs = append(errs, errors.New("shipfox: Token is no provisioner token: one that begins with sf_pt_ is needed"))
	}
	if c.BatchSize < 0 {
		errs = append(errs, fmt.Errorf("shipfox: BatchSize is %d: 1 to %d is allowed", c.BatchSize, maxBatch))
	}
	return errors.Join(errs...)
}
