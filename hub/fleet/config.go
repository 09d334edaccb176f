package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/internal/version"
	"github.com/slipway-ci/slipway/internal/wire"
	"github.com/slipway-ci/slipway/tokens"
)

// Config is what a Fleet is made from. Zero values mean the defaults.
type Config struct {
	// Authenticate says whose agent token has this digest: the host's id, stable
	// and never reused. ErrRefused: nobody's. Required.
	Authenticate func(ctx context.Context, digest tokens.Digest) (host string, err error)
	// Store keeps the records of runners; nil: in memory.
	Store Store
	// Hosts are known from the start. A host that Authenticate names and that is
	// not among them gets the defaults.
	Hosts []Host

	// Heartbeat is the pace of heartbeats: a peer that says nothing for twice that
	// is gone; default 15 s.
	Heartbeat time.Duration
	// LostAfter is how long a host may be away until its runners are told as
	// ended; default 10 min.
	LostAfter time.Duration
	// CallTimeout bounds a request whose caller names no limit; default 2 min.
	CallTimeout time.Duration
	// PrepareTimeout bounds a Prepare whose caller names no limit; default 30 min.
	PrepareTimeout time.Duration
	// PrepareGrace is how long Prepare waits for the others once one host is
	// ready; default 10 s.
	PrepareGrace time.Duration
	// SlowAfter is how long a launch may go unanswered until its host is passed
	// over while others have room; default 10 s.
	SlowAfter time.Duration
	// RetryMin and RetryMax bound the growing pause of a kind of runner on a host
	// where its launches fail; defaults 1 s and 5 min.
	RetryMin, RetryMax time.Duration
	// MaxRunners bounds how many runners one agent may tell of; default 2000.
	MaxRunners int

	// Version is told to agents for display; default the build's own.
	Version string
	// Logger; nil discards.
	Logger hclog.Logger
}

// Host is what is set for one host.
type Host struct {
	// ID is the host's id, as Authenticate gives it. Required.
	ID string
	// Name is told in listings; default the id.
	Name string
	// MaxRunners is the host's own cap; default its CPUs, as its agent tells them:
	// a host that tells none and has no cap gets nothing.
	MaxRunners int
	// Cordoned hosts get no new runners.
	Cordoned bool
}

func (c Config) withDefaults() Config {
	if c.Store == nil {
		c.Store = NewMemoryStore()
	}
	c.Heartbeat = cmp.Or(c.Heartbeat, wire.DefaultHeartbeat)
	c.LostAfter = cmp.Or(c.LostAfter, 10*time.Minute)
	c.CallTimeout = cmp.Or(c.CallTimeout, 2*time.Minute)
	c.PrepareTimeout = cmp.Or(c.PrepareTimeout, 30*time.Minute)
	c.PrepareGrace = cmp.Or(c.PrepareGrace, 10*time.Second)
	c.SlowAfter = cmp.Or(c.SlowAfter, 10*time.Second)
	c.RetryMin = cmp.Or(c.RetryMin, time.Second)
	c.RetryMax = max(cmp.Or(c.RetryMax, 5*time.Minute), c.RetryMin)
	c.MaxRunners = cmp.Or(c.MaxRunners, 2000)
	c.Version = cmp.Or(c.Version, version.String())
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}

func (c Config) validate() error {
	var errs []error
	if c.Authenticate == nil {
		errs = append(errs, errors.New("field Authenticate is needed"))
	}
	seen := map[string]bool{}
	for _, h := range c.Hosts {
		if h.ID == "" || seen[h.ID] {
			errs = append(errs, fmt.Errorf("field Hosts: id %q is empty or there twice", h.ID))
		}
		if h.MaxRunners < 0 {
			errs = append(errs, fmt.Errorf("field Hosts: MaxRunners of %q is %d: it must not be negative", h.ID, h.MaxRunners))
		}
		seen[h.ID] = true
	}
	if c.MaxRunners < 0 {
		errs = append(errs, fmt.Errorf("field MaxRunners is %d: it must not be negative", c.MaxRunners))
	}
	for name, d := range map[string]time.Duration{
		"Heartbeat": c.Heartbeat, "LostAfter": c.LostAfter, "CallTimeout": c.CallTimeout, "PrepareTimeout": c.PrepareTimeout,
		"PrepareGrace": c.PrepareGrace, "SlowAfter": c.SlowAfter, "RetryMin": c.RetryMin, "RetryMax": c.RetryMax,
	} {
		if d < 0 {
			errs = append(errs, fmt.Errorf("field %s is %s: it must not be negative", name, d))
		}
	}
	if c.Heartbeat > wire.MaxTimeout || c.Heartbeat > 0 && c.Heartbeat < time.Millisecond {
		errs = append(errs, fmt.Errorf("field Heartbeat is %s: 1 ms to %s is allowed", c.Heartbeat, wire.MaxTimeout))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return nil
}
