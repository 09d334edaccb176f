package hosts

import (
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/hub/hosts/form"
	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/internal/version"
)

// Config is what a Registry is made from. Zero values mean the defaults.
type Config struct {
	// Store holds everything. Required; the caller closes it after Run returned.
	Store *store.Store
	// Queue is where the runners of removed hosts are revoked; nil: nowhere.
	Queue *queue.Queue
	// PublicURL is where hosts reach this hub, such as https://ci.example.com; a
	// path is kept. Empty: nobody can be invited.
	PublicURL string
	// InsecureHTTP allows a PublicURL of http that is not of this machine.
	InsecureHTTP bool
	// EnrolmentTTL is how long an invitation can be used; default 15 min, at most
	// form.MaxEnrolmentTTL.
	EnrolmentTTL time.Duration
	// Agents tells the versions that agents can fetch from this hub now: an order of
	// another one is refused, and one without a version means the only one. Nil: any
	// may be ordered.
	Agents func() []string
	// Version is what an update order without a version names where Agents is nil;
	// default the build's own.
	Version string
	// UpdateTimeout is how long after it was told to an agent may take until it is
	// online with its next version; default 10 min, which is longer than it takes
	// one to fetch it, try it and go back.
	UpdateTimeout time.Duration
	// SightingInterval is how often it is written who was seen; default 1 min.
	SightingInterval time.Duration
	// Pace is how often drains and updates under way are looked at; default 1 s.
	Pace time.Duration
	// Events is told what happened: a kind such as host-enrolled, the object, such
	// as host/builder-01, and a text for people. It must not wait; nil: nobody.
	Events func(kind, object, text string)
	// Logger; nil discards.
	Logger hclog.Logger
}

func (c Config) withDefaults() Config {
	for field, value := range map[*time.Duration]time.Duration{
		&c.EnrolmentTTL:     15 * time.Minute,
		&c.UpdateTimeout:    10 * time.Minute,
		&c.SightingInterval: time.Minute,
		&c.Pace:             time.Second,
	} {
		if *field == 0 {
			*field = value
		}
	}
	if c.Version == "" {
		c.Version = version.String()
	}
	if c.Events == nil {
		c.Events = func(string, string, string) {}
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}

func (c Config) validate() error {
	var errs []error
	if c.Store == nil {
		errs = append(errs, errors.New("field Store is nil"))
	}
	for name, d := range map[string]time.Duration{
		"EnrolmentTTL": c.EnrolmentTTL, "UpdateTimeout": c.UpdateTimeout, "SightingInterval": c.SightingInterval, "Pace": c.Pace,
	} {
		if d < 0 {
			errs = append(errs, fmt.Errorf("field %s is %s: it must not be negative", name, d))
		}
	}
	if c.EnrolmentTTL > form.MaxEnrolmentTTL {
		errs = append(errs, fmt.Errorf("field EnrolmentTTL is %s: at most %s is allowed", c.EnrolmentTTL, form.MaxEnrolmentTTL))
	}
	if _, err := form.PublicURL(c.PublicURL, c.InsecureHTTP); err != nil {
		errs = append(errs, fmt.Errorf("field PublicURL %w", err))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return nil
}
