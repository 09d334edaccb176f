package api

import (
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/hashicorp/go-hclog"

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
	// Guard gives room for what must be stored; nil: there is always room.
	Guard *storage.Guard
	// Version is the program's, for the OpenAPI document; default "dev".
	Version string
	// Failures is how many failed attempts to authenticate one address has in a
	// minute before it is answered 429; default 30. Good tokens are never refused.
	Failures int
	// Streams is how many logs may be followed at once; default 256.
	Streams int
	// WriteTimeout is how long a reader of a log may take for one piece of it;
	// default 1 min.
	WriteTimeout time.Duration
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
	case c.Failures < 0 || c.Streams < 0 || c.WriteTimeout < 0:
		return errors.New("api: Failures, Streams and WriteTimeout can't be negative")
	}
	return nil
}

type server struct {
	Config
	huma     huma.API
	failures *failures
	streams  atomic.Int64
}

// New returns the handler of everything under Prefix.
func New(cfg Config) (http.Handler, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	s := &server{Config: cfg, failures: newFailures(cfg.Failures), huma: humago.New(mux, document(cfg.Version))}
	s.huma.UseMiddleware(s.authenticate)
	s.jobRoutes()
	s.logRoutes()
	s.tokenRoutes()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeProblem(w, newProblem(http.StatusNotFound, "not-found", fmt.Sprintf("there is no route %s %.100s", r.Method, r.URL.Path)))
	})
	return mux, nil
}

const schemeBearer = "admin"

func document(version string) huma.Config {
	c := huma.DefaultConfig("Slipway", version)
	c.OpenAPIPath = Prefix + "openapi"
	c.DocsPath, c.SchemasPath = "", "" // a page of others, and links into answers
	c.CreateHooks = nil
	c.RejectUnknownQueryParameters = true
	c.Info.Description = "Jobs, their logs, and tokens of a Slipway hub."
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		schemeBearer: {Type: "http", Scheme: "bearer", Description: "an admin token, sf_adm_…"},
	}
	c.Security = []map[string][]string{{schemeBearer: {}}}
	return c
}

// operation describes one route; path comes after Prefix.
func operation(id, method, path, summary string, errs ...int) huma.Operation {
	return huma.Operation{
		OperationID: id, Method: method, Path: Prefix + path, Summary: summary,
		Errors: append([]int{http.StatusUnauthorized, http.StatusTooManyRequests}, errs...), MaxBodyBytes: maxBody, BodyReadTimeout: bodyTimeout,
	}
}

// store does what must be stored even when the disk is full.
func (s *server) store(do func() error) error {
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
