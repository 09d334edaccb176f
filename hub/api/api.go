package api

import (
	"errors"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/hub/api/rest"
	"github.com/slipway-ci/slipway/hub/events"
	"github.com/slipway-ci/slipway/hub/logs"
	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/scalesets"
	"github.com/slipway-ci/slipway/hub/storage"
)

// Prefix is that of all routes.
const Prefix = rest.Prefix

// Config is what the API serves. The zero value of each field but Queue and Logs
// is its default.
type Config struct {
	// Queue and Logs are where jobs and logs are. Required.
	Queue *queue.Queue
	Logs  *logs.Store
	// Events are the event log and the audit log; nil: there are none.
	Events *events.Log
	// Hosts, ScaleSets, Fleet and Terminator are the hosts, what runs on them and what
	// ends it. Nil: the routes about it answer 404 not-configured.
	Hosts      Hosts
	ScaleSets  ScaleSets
	Fleet      Fleet
	Terminator Terminator
	// Statuses tells how scale sets do, in their order; nil: nothing is told of it.
	Statuses func([]scalesets.ScaleSet) []scalesets.Status
	// Info tells of the hub itself; nil: 404 not-configured.
	Info func() HubInfo
	// Guard gives room for what must be stored; nil: there is always room.
	Guard *storage.Guard
	// Version is the program's, for the OpenAPI document; default "dev".
	Version string
	// Failures is how many failed attempts to authenticate one address has in a
	// minute before it is answered 429; default 30. Good tokens are never refused.
	Failures int
	// ClientIP is the address that a request comes from; nil: the connection's.
	ClientIP func(*http.Request) string
	// Streams is how many logs may be followed at once, and how many streams of
	// events; default 256.
	Streams int
	// StreamsPerToken is how many of each one token may have; default 16.
	StreamsPerToken int
	// WriteTimeout is how long a reader of a log or of events may take for one piece
	// of it; default 1 min.
	WriteTimeout time.Duration
	// Heartbeat is how often a stream of events says that it is there; default 15 s.
	Heartbeat time.Duration
	// Logger; nil discards.
	Logger hclog.Logger
}

func (c Config) withDefaults() Config {
	if c.Version == "" {
		c.Version = "dev"
	}
	if c.Failures == 0 {
		c.Failures = 30
	}
	if c.Heartbeat == 0 {
		c.Heartbeat = 15 * time.Second
	}
	if c.Streams == 0 {
		c.Streams = 256
	}
	if c.StreamsPerToken == 0 {
		c.StreamsPerToken = 16
	}
	if c.WriteTimeout == 0 {
		c.WriteTimeout = time.Minute
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}

func (c Config) validate() error {
	switch {
	case c.Queue == nil || c.Logs == nil:
		return errors.New("api: Queue or Logs is nil")
	case c.Failures < 0 || c.Streams < 0 || c.StreamsPerToken < 0 || c.WriteTimeout < 0 || c.Heartbeat < 0:
		return errors.New("api: Failures, Streams, StreamsPerToken, WriteTimeout and Heartbeat can't be negative")
	}
	return nil
}

// Server is the handler of everything under Prefix.
type Server struct {
	Config
	*rest.Server
	logStreams, eventStreams *rest.Streams
}

// New returns the handler of everything under Prefix.
func New(cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := &Server{
		Config: cfg,
		Server: rest.New(rest.Config{
			Queue: cfg.Queue, Events: cfg.Events, Guard: cfg.Guard, Missing: cfg.missing(), Version: cfg.Version, Failures: cfg.Failures,
			ClientIP: cfg.ClientIP, Logger: cfg.Logger,
		}),
		logStreams:   rest.NewStreams("logs", cfg.Streams, cfg.StreamsPerToken),
		eventStreams: rest.NewStreams("streams of events", cfg.Streams, cfg.StreamsPerToken),
	}
	s.hubRoutes()
	s.jobRoutes()
	s.logRoutes()
	s.tokenRoutes()
	s.hostRoutes()
	s.scaleSetRoutes()
	s.credentialRoutes()
	s.runnerRoutes()
	s.eventRoutes()
	s.auditRoutes()
	return s, nil
}

// missing names, for nouns of routes, what this hub does not have.
func (c Config) missing() map[string]string {
	out := map[string]string{}
	for _, part := range []struct {
		missing bool
		name    string
		nouns   []string
	}{
		{c.Info == nil, "information of itself", []string{"hub"}},
		{c.Hosts == nil, "hosts", []string{"host", "enrolment"}},
		{c.ScaleSets == nil, "scale sets", []string{"scale-set", "credential"}},
		{c.Fleet == nil, "runners", []string{"runner"}},
		{c.Events == nil, "events", []string{"event", "audit"}},
	} {
		for _, noun := range part.nouns {
			if part.missing {
				out[noun] = part.name
			}
		}
	}
	return out
}
