package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/internal/version"
	"github.com/slipway-ci/slipway/internal/wire"
	"github.com/slipway-ci/slipway/tokens"
)

// Config is what a Fleet is made from. Zero values mean the defaults.
type Config struct {
	// Authenticate says whose agent token has this digest: the host's id, stable
	// and never reused. ErrRefused: nobody's. ErrRemoved: that of a host that was
	// removed, whose agent is told so. Required.
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
	// PrepareGrace is how long Prepare waits for the others at most once one host is
	// ready: as long again as that one took, and half a second at least; default 10 s.
	PrepareGrace time.Duration
	// SlowAfter is how long a launch may go unanswered until its host is passed
	// over while others have room; default 10 s.
	SlowAfter time.Duration
	// DecideWithin is how long a launch whose connection ended before the answer waits
	// for the agent to come back and say what became of it; default 5 s, in which an
	// agent is back if nothing is wrong with it.
	DecideWithin time.Duration
	// RetryMin and RetryMax bound the growing pause of a kind of runner on a host
	// where its launches fail; defaults 1 s and 5 min.
	RetryMin, RetryMax time.Duration
	// MaxRunners bounds how many runners one agent may tell of; default 2000.
	MaxRunners int
	// StatsInterval is how often an agent is asked how busy its host is; default
	// 1 min.
	StatsInterval time.Duration

	// OvercommitCPU and OvercommitMemory are how much of a host's CPUs and memory
	// its runners may have been launched with, all together: 1, the default, means
	// no more than there is, 2 twice as much, 0.9 that a tenth is kept back. What a
	// runner is launched without is not counted, and neither is what a host does not
	// tell.
	OvercommitCPU, OvercommitMemory float64
	// IsolatedRuntimes are the runtimes that isolate a runner from its host, the
	// best first; default sysbox-runc, kata-runtime, runsc.
	IsolatedRuntimes []string

	// SealKey makes the seals of runners, see records.LabelSeal: with it a host is believed to
	// have no runners but those that it was given. Default: an agent is believed whatever
	// runners it tells of that no other host has.
	SealKey []byte

	// Credential gives what the registry of the image takes, for a launch of the
	// template; nil: none. It is asked just before what needs it is sent. What it gives
	// is kept in memory alone, to cut it out of what that host says. Default: none for any.
	Credential func(ctx context.Context, template, image string) (*backend.Credential, error)
	// Sessions is told what becomes of the sessions, one event after the other and
	// never under a lock. If it is slower than events come, stats and facts give
	// way to newer ones of their host, and in the end the oldest are lost: Hosts
	// tells how things are. Default: nobody.
	Sessions func(SessionEvent)

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
	// Labels are what a Placement's selector looks at.
	Labels map[string]string
	// Agent and Engine are the pair of ids that the host is bound to: an agent that
	// tells another is turned away, and so is another host that tells this Engine
	// ("host-duplicated"). Empty: bound to none, as a host is that was never there, is
	// enrolled anew or was revoked; an engine that it had before is let go.
	Agent, Engine string
	// LastSeen is when its agent was there before this hub started, and LastFacts are
	// what it told then. They count until it comes: a host that was never there is
	// Pending, and the facts of one that was are told as last known.
	LastSeen  time.Time
	LastFacts Facts
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
	c.DecideWithin = cmp.Or(c.DecideWithin, 5*time.Second)
	c.RetryMin = cmp.Or(c.RetryMin, time.Second)
	c.RetryMax = max(cmp.Or(c.RetryMax, 5*time.Minute), c.RetryMin)
	c.MaxRunners = cmp.Or(c.MaxRunners, 2000)
	c.StatsInterval = cmp.Or(c.StatsInterval, time.Minute)
	c.OvercommitCPU = cmp.Or(c.OvercommitCPU, 1)
	c.OvercommitMemory = cmp.Or(c.OvercommitMemory, 1)
	if len(c.IsolatedRuntimes) == 0 {
		c.IsolatedRuntimes = []string{"sysbox-runc", "kata-runtime", "runsc"}
	}
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
		"PrepareGrace": c.PrepareGrace, "StatsInterval": c.StatsInterval, "SlowAfter": c.SlowAfter,
		"DecideWithin": c.DecideWithin, "RetryMin": c.RetryMin, "RetryMax": c.RetryMax,
	} {
		if d < 0 {
			errs = append(errs, fmt.Errorf("field %s is %s: it must not be negative", name, d))
		}
	}
	if !(c.OvercommitCPU >= 0) || !(c.OvercommitMemory >= 0) {
		errs = append(errs, errors.New("fields OvercommitCPU and OvercommitMemory must not be negative"))
	}
	if c.Heartbeat > wire.MaxTimeout || c.Heartbeat > 0 && c.Heartbeat < time.Millisecond {
		errs = append(errs, fmt.Errorf("field Heartbeat is %s: 1 ms to %s is allowed", c.Heartbeat, wire.MaxTimeout))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return nil
}
