package queue

import (
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/hub/vault"
)

// Config says how a queue works. The zero value of each field but Store is its
// default.
type Config struct {
	// Store holds everything. Required; the caller closes it after Run returned.
	Store *store.Store
	// Vault seals the environments of jobs and gives the key that signs sessions;
	// default: the one of Store with the key file at its default place.
	Vault *vault.Vault
	// LeaseTTL is how long a runner may go without a renewal; default 90 s. It
	// must be longer than a restart of the hub takes.
	LeaseTTL time.Duration
	// LeaseGrace is added to LeaseTTL before a lease is called lost, so that the
	// runner has ended by then by its own clock; default 30 s.
	LeaseGrace time.Duration
	// RenewInterval is what runners are told; default 10 s.
	RenewInterval time.Duration
	// JobTimeout is for jobs that name none; default 1 h.
	JobTimeout time.Duration
	// TimeoutGrace is how long after a job's timeout its lease is still renewed,
	// for the runner to say so itself; default 1 min.
	TimeoutGrace time.Duration
	// ReservationTTL is for polls that ask for none; default 60 s.
	ReservationTTL time.Duration
	// MaxPollWait bounds one long poll; default 30 s.
	MaxPollWait time.Duration
	// LogLimit is how many bytes of a job's log are kept; default 16 MiB.
	LogLimit int64
	// StorageFull says that nothing new may be accepted or granted; nil: never.
	// It is called often and must be quick.
	StorageFull func() bool
	// Logger; nil discards.
	Logger hclog.Logger
}

func (c Config) withDefaults() Config {
	for field, value := range map[*time.Duration]time.Duration{
		&c.LeaseTTL:       90 * time.Second,
		&c.LeaseGrace:     30 * time.Second,
		&c.RenewInterval:  10 * time.Second,
		&c.JobTimeout:     time.Hour,
		&c.TimeoutGrace:   time.Minute,
		&c.ReservationTTL: time.Minute,
		&c.MaxPollWait:    30 * time.Second,
	} {
		if *field == 0 {
			*field = value
		}
	}
	if c.LogLimit == 0 {
		c.LogLimit = 16 << 20
	}
	if c.StorageFull == nil {
		c.StorageFull = func() bool { return false }
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}

func (c Config) validate() error {
	if c.Store == nil {
		return errors.New("queue: Store is nil")
	}
	for name, d := range map[string]time.Duration{
		"LeaseTTL": c.LeaseTTL, "LeaseGrace": c.LeaseGrace, "RenewInterval": c.RenewInterval,
		"JobTimeout": c.JobTimeout, "TimeoutGrace": c.TimeoutGrace,
		"ReservationTTL": c.ReservationTTL, "MaxPollWait": c.MaxPollWait,
	} {
		if d < 0 {
			return fmt.Errorf("queue: %s is %s: it can't be negative", name, d)
		}
	}
	if c.RenewInterval >= c.LeaseTTL {
		return fmt.Errorf("queue: RenewInterval is %s: it must be below LeaseTTL, %s", c.RenewInterval, c.LeaseTTL)
	}
	if c.LogLimit < 0 {
		return fmt.Errorf("queue: LogLimit is %d: it can't be negative", c.LogLimit)
	}
	return nil
}
