package api

import (
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/hub/events"
	"github.com/slipway-ci/slipway/hub/logs"
	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/storage"
)

// Prefix is that of all routes.
const Prefix = "/api/v1/"

const (
	maxBody     = 1 << 20
	bodyTimeout = 30 * time.Second
)

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
	if c.ClientIP == nil {
		c.ClientIP = remoteAddress
	}
	if c.Heartbeat == 0 {
		c.Heartbeat = 15 * time.Second
	}
	if c.Streams == 0 {
		c.Streams = 256
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
	case c.Failures < 0 || c.Streams < 0 || c.WriteTimeout < 0 || c.Heartbeat < 0:
		return errors.New("api: Failures, Streams, WriteTimeout and Heartbeat can't be negative")
	}
	return nil
}

// Server is the handler of everything under Prefix.
type Server struct {
	Config
	handler  http.Handler
	mux      *http.ServeMux
	huma     huma.API
	routes   []Route
	failures *failures
	streams  atomic.Int64 // of logs
	watchers atomic.Int64 // of events
}

// New returns the handler of everything under Prefix.
func New(cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	s := &Server{Config: cfg, mux: mux, failures: newFailures(cfg.Failures), huma: humago.New(mux, document(cfg.Version))}
	s.huma.UseMiddleware(s.authenticate)
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
	mux.HandleFunc("/", s.unknown)
	s.handler = named(mux)
	return s, nil
}

// ServeHTTP serves one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

const schemeBearer = "token"

func document(version string) huma.Config {
	c := huma.DefaultConfig("Slipway", version)
	c.OpenAPIPath = Prefix + "openapi"
	c.DocsPath, c.SchemasPath = "", "" // a page of others, and links into answers
	c.CreateHooks = nil
	c.RejectUnknownQueryParameters = true
	c.Transformers = append(c.Transformers, nameProblem)
	c.Info.Description = "Hosts, scale sets, runners, jobs, events and tokens of a Slipway hub. x-least-role says who may use a route."
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		schemeBearer: {Type: "http", Scheme: "bearer", Description: "an API token with a role, sf_api_…, or an admin token, sf_adm_…"},
	}
	c.Security = []map[string][]string{{schemeBearer: {}}}
	return c
}

// store does what must be stored even when the disk is full.
func (s *Server) store(do func() error) error {
	if s.Guard == nil {
		return do()
	}
	return s.Guard.Do(do)
}

// list is how lists are answered. Next goes into the cursor of the next request;
// null at the end.
type list[T any] struct {
	Items []T     `json:"items" nullable:"false"`
	Next  *string `json:"next"`
}

func listOf[T any](items []T, next string) list[T] {
	l := list[T]{Items: items}
	if items == nil {
		l.Items = []T{}
	}
	if next != "" {
		l.Next = &next
	}
	return l
}
