package provisioner

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/template"
)

// Config is what a Loop is made from. Zero values mean the defaults.
type Config struct {
	// ControlPlane says which jobs wait. Required.
	ControlPlane ControlPlane
	// Backend is where runners live. Required. Its owner is the Identity of the
	// control plane.
	Backend backend.Backend
	// Templates are the kinds of runners, in the order in which they are
	// advertised. With none the loop asks for no jobs, and keeps what it finds.
	Templates []template.Template
	// Logger gets one line per applied action; nil discards.
	Logger hclog.Logger
	// Metrics gets measurements; nil discards.
	Metrics Metrics
	// Ended is told how each runner ended, soon after, when it is known what it came to;
	// nil: nobody is. The planner calls it: it must return at once. What had ended
	// before the loop began is not told, and a crash of the process loses some.
	Ended func(End)

	// SoleOwner: nobody else can launch under our owner's id. What is found later than
	// at the start and was not launched here is then what the backend has found again: it
	// is adopted, no sign of another loop, and no evidence against its template. A backend
	// whose hosts may lie needs that; default false.
	SoleOwner bool

	// Limits are the numbers that planning needs.
	Limits

	// CallTimeout bounds one call to the control plane or the backend, but for
	// Poll, Prepare and Watch; default 30 s.
	CallTimeout time.Duration
	// PrepareTimeout bounds one Prepare, so one image pull; default 30 min.
	PrepareTimeout time.Duration
	// DrainTimeout bounds how long Run goes on with launches and reports after
	// its ctx ended; default 30 s. Then the ctx of every call ends: one that does not
	// heed it holds Run up for as long as it takes.
	DrainTimeout time.Duration
}

// Limits are the numbers that Plan works with. Zero values mean the defaults.
type Limits struct {
	// PollWait is how long one poll may wait for demand; default 30 s.
	PollWait time.Duration
	// PollInterval is the pause after a poll that came back at once and empty;
	// it grows to PollMaxInterval; defaults 1 s and 5 s.
	PollInterval, PollMaxInterval time.Duration
	// ListInterval is the time between two lists when no change was hinted at;
	// default 10 s.
	ListInterval time.Duration
	// UnwatchedListInterval is the same while the backend hints at nothing; default
	// 2 s, and never more than ListInterval.
	UnwatchedListInterval time.Duration
	// FactsInterval is the time between two asks for facts while there are
	// runners; default 10 s.
	FactsInterval time.Duration
	// KeepAlive is how often an unchanged live runner is reported again; default
	// 30 s; negative: never.
	KeepAlive time.Duration
	// MaxReservations bounds the runners that one poll may ask for; default 250.
	MaxReservations int
	// ReservationLifetime is how long a grant is asked to live; default 2 min.
	ReservationLifetime time.Duration
	// MintBatch bounds one mint; default 250.
	MintBatch int
	// LaunchParallelism bounds the launches under way, minting included;
	// default 16.
	LaunchParallelism int
	// LaunchDeadline is how long a launch may stay uncertain; default 2 min.
	LaunchDeadline time.Duration
	// RegistrationDeadline is how long a runner may take until the control plane
	// knows it, for templates that say none; default 150 s.
	RegistrationDeadline time.Duration
	// MaxLifetime is how long a runner may live, for templates that say none;
	// default 1 h and 1 min.
	MaxLifetime time.Duration
	// StopDeadline is how long a runner may be stopping until it is removed;
	// default 1 min.
	StopDeadline time.Duration
	// IdleTimeout is how long a runner above the floors may be without a job
	// until it is retired; default 1 min.
	IdleTimeout time.Duration
	// FailedRetention is how long a failed runner is kept for a post-mortem;
	// default 1 h; negative: not at all.
	FailedRetention time.Duration
	// FailedRetentionCount is how many of them are kept; default 20; negative: none.
	FailedRetentionCount int
}

// The rules below have no knob: they are part of what the loop promises.
const (
	listSpacing      = 100 * time.Millisecond // between two lists, where they are quick
	listPaceMax      = time.Second            // and where they are slow
	pollSpacing      = 50 * time.Millisecond  // from one poll to the next, unless it granted something
	repollSpacing    = time.Second            // between two polls when one is sent anew
	factsSpacing     = time.Second            // between two asks
	reportPatience   = 10 * time.Minute       // an ended runner waits so long for its report
	watchFor         = 5 * time.Minute        // a watch begins anew: its connection may have died in silence
	preparedFor      = time.Minute            // an image that was there is looked for again after this
	crashWindow      = 30 * time.Second       // "soon after start"
	idleCrashes      = 3                      // clean exits without a job in a row that count as a crash
	conflictPatience = time.Minute            // of an owner conflict until launching stops
	fewRefusals      = 3                      // announcements refused in a row until the next mints wait
	levelPause       = time.Second            // for targets and idle floors, where the room that was told was not there
	outboxLimit      = 50_000                 // events; each runner of a large fleet tells one when it is adopted
	reportBatch      = 1000                   // events a report; the Shipfox API's limit
	rememberGivenUp  = 10000                  // ids
)

func (c Config) withDefaults() Config {
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	if c.Metrics == nil {
		c.Metrics = discard{}
	}
	c.Limits = c.Limits.withDefaults()
	c.CallTimeout = cmp.Or(c.CallTimeout, 30*time.Second)
	c.PrepareTimeout = cmp.Or(c.PrepareTimeout, 30*time.Minute)
	c.DrainTimeout = cmp.Or(c.DrainTimeout, 30*time.Second)
	return c
}

func (l Limits) withDefaults() Limits {
	l.PollWait = cmp.Or(l.PollWait, 30*time.Second)
	l.PollInterval = cmp.Or(l.PollInterval, time.Second)
	l.PollMaxInterval = max(cmp.Or(l.PollMaxInterval, 5*time.Second), l.PollInterval)
	l.ListInterval = cmp.Or(l.ListInterval, 10*time.Second)
	l.UnwatchedListInterval = min(cmp.Or(l.UnwatchedListInterval, 2*time.Second), l.ListInterval)
	l.FactsInterval = cmp.Or(l.FactsInterval, 10*time.Second)
	l.KeepAlive = cmp.Or(l.KeepAlive, 30*time.Second)
	l.MaxReservations = cmp.Or(l.MaxReservations, 250)
	l.ReservationLifetime = cmp.Or(l.ReservationLifetime, 2*time.Minute)
	l.MintBatch = cmp.Or(l.MintBatch, 250)
	l.LaunchParallelism = cmp.Or(l.LaunchParallelism, 16)
	l.LaunchDeadline = cmp.Or(l.LaunchDeadline, 2*time.Minute)
	l.RegistrationDeadline = cmp.Or(l.RegistrationDeadline, 150*time.Second)
	l.MaxLifetime = cmp.Or(l.MaxLifetime, time.Hour+time.Minute)
	l.StopDeadline = cmp.Or(l.StopDeadline, time.Minute)
	l.IdleTimeout = cmp.Or(l.IdleTimeout, time.Minute)
	l.FailedRetention = cmp.Or(l.FailedRetention, time.Hour)
	l.FailedRetentionCount = cmp.Or(l.FailedRetentionCount, 20)
	return l
}

func (c Config) validate() error {
	var errs []error
	if c.ControlPlane == nil {
		errs = append(errs, errors.New("a ControlPlane is needed"))
	}
	if c.Backend == nil {
		errs = append(errs, errors.New("a Backend is needed"))
	}
	positive := map[string]time.Duration{
		"PollWait": c.PollWait, "PollInterval": c.PollInterval, "ListInterval": c.ListInterval, "UnwatchedListInterval": c.UnwatchedListInterval, "FactsInterval": c.FactsInterval,
		"ReservationLifetime": c.ReservationLifetime, "LaunchDeadline": c.LaunchDeadline, "RegistrationDeadline": c.RegistrationDeadline,
		"MaxLifetime": c.MaxLifetime, "StopDeadline": c.StopDeadline, "IdleTimeout": c.IdleTimeout,
		"CallTimeout": c.CallTimeout, "PrepareTimeout": c.PrepareTimeout, "DrainTimeout": c.DrainTimeout,
	}
	for name, d := range positive {
		if d < 0 {
			errs = append(errs, fmt.Errorf("field %s is %s: it must not be negative", name, d))
		}
	}
	for name, n := range map[string]int{"MaxReservations": c.MaxReservations, "MintBatch": c.MintBatch, "LaunchParallelism": c.LaunchParallelism} {
		if n < 0 {
			errs = append(errs, fmt.Errorf("field %s is %d: it must not be negative", name, n))
		}
	}
	errs = append(errs, checkTemplates(c.Templates))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("provisioner: config: %w", err)
	}
	return nil
}

// checkTemplates checks what the loop relies on; the rest is the template
// file's and the backend's business.
func checkTemplates(templates []template.Template) error {
	var errs []error
	seen := map[string]bool{}
	for _, t := range templates {
		if t.Key == "" || seen[t.Key] {
			errs = append(errs, fmt.Errorf("template %q: a key must not be empty and not be there twice", t.Key))
		}
		seen[t.Key] = true
		if canonical, err := template.Canonical(t.Labels); err != nil {
			errs = append(errs, fmt.Errorf("template %q: %w", t.Key, err))
		} else if !slices.Equal(canonical, t.Labels) {
			errs = append(errs, fmt.Errorf("template %q: labels %q are not canonical: want %q", t.Key, t.Labels, canonical))
		}
		if t.MaxConcurrency < 1 {
			errs = append(errs, fmt.Errorf("template %q: MaxConcurrency is %d: 1 or more is allowed", t.Key, t.MaxConcurrency))
		}
		if t.MinIdle > t.MaxConcurrency || t.TargetConcurrency > t.MaxConcurrency {
			errs = append(errs, fmt.Errorf("template %q: MinIdle and TargetConcurrency must not be above MaxConcurrency", t.Key))
		}
	}
	return errors.Join(errs...)
}
