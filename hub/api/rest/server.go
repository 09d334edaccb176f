package rest

import (
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/hub/edge"
	"github.com/slipway-ci/slipway/hub/events"
	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/storage"
)

// Prefix is that of all routes.
const Prefix = "/api/v1/"

const (
	maxBody     = 1 << 20
	bodyTimeout = 30 * time.Second
)

// Config is what the routes stand on. The defaults are those of api.Config, which
// says more of each.
type Config struct {
	// Queue has the tokens. Required.
	Queue *queue.Queue
	// Events has the audit log; nil: nothing is audited.
	Events *events.Log
	// Guard gives room for what must be stored; nil: there is always room.
	Guard *storage.Guard
	// Missing names what routes about a noun need and this hub does not have.
	Missing map[string]string
	// Version is for the OpenAPI document.
	Version string
	// Failures is how many failed attempts one address has in a minute. Required.
	Failures int
	// ClientIP is the address that a request comes from; nil: the connection's.
	ClientIP func(*http.Request) string
	// Logger gets what is not told to callers. Required.
	Logger hclog.Logger
}

// Server serves the routes that are registered with it.
type Server struct {
	Config
	handler  http.Handler
	mux      *http.ServeMux
	huma     huma.API
	routes   []Route
	failures *edge.Failures
}

// New returns a Server without any route.
func New(cfg Config) *Server {
	if cfg.ClientIP == nil {
		cfg.ClientIP = remoteAddress
	}
	mux := http.NewServeMux()
	s := &Server{Config: cfg, mux: mux, failures: edge.NewFailures(cfg.Failures), huma: humago.New(mux, document(cfg.Version))}
	s.huma.UseMiddleware(s.authenticate)
	mux.HandleFunc("/", s.unknown)
	s.handler = named(mux)
	return s
}

// ServeHTTP serves one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

const schemeBearer = "token"

func document(version string) huma.Config {
	c := huma.DefaultConfig("Slipway", version)
	c.OpenAPIPath = Prefix + "openapi"
	c.DocsPath, c.SchemasPath = "", "" // a page of others, and links into answers
	c.CreateHooks = nil
	c.Formats = formats()
	c.RejectUnknownQueryParameters = true
	c.Transformers = append(c.Transformers, nameProblem)
	c.Info.Description = "Hosts, scale sets, runners, jobs, events and tokens of a Slipway hub. x-least-role says who may use a route."
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		schemeBearer: {Type: "http", Scheme: "bearer", Description: "an API token with a role, sf_api_…, or an admin token, sf_adm_…"},
	}
	c.Security = []map[string][]string{{schemeBearer: {}}}
	return c
}

// Schema is that of a type, for bodies that a handler reads itself.
func Schema[T any](s *Server) *huma.Schema {
	return huma.SchemaFromType(s.huma.OpenAPI().Components.Schemas, reflect.TypeFor[T]())
}

// Store does what must be stored even when the disk is full.
func (s *Server) Store(do func() error) error {
	if s.Guard == nil {
		return do()
	}
	return s.Guard.Do(do)
}
