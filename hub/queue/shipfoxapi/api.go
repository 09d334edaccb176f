package shipfoxapi

import (
	"errors"
	"net/http"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/hub/queue"
)

// Config says what is served.
type Config struct {
	// Queue is required.
	Queue *queue.Queue
	// Logger; nil discards.
	Logger hclog.Logger
}

// API serves the routes.
type API struct {
	queue  *queue.Queue
	log    hclog.Logger
	limits *limiter
}

// New makes an API.
func New(cfg Config) (*API, error) {
	if cfg.Queue == nil {
		return nil, errors.New("shipfoxapi: Queue is nil")
	}
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	return &API{queue: cfg.Queue, log: cfg.Logger, limits: newLimiter()}, nil
}

// The prefixes under which a mux should mount the handlers.
var (
	// ProvisionerPrefixes are for Handler alone.
	ProvisionerPrefixes = []string{"/provisioners/"}
	// RunnerPrefixes are for Handler and RunnerHandler.
	RunnerPrefixes = []string{"/runner-enrollment/", "/runner-control/", "/runners/"}
)

// Handler serves all routes, behind package edge, which bounds failed attempts; what it does not know is a 404 not-found.
func (a *API) Handler() http.Handler {
	return a.mux(append(a.provisionerRoutes(), a.runnerRoutes()...))
}

// RunnerHandler serves the routes of runners alone, for a listener that runners
// can reach and others should not.
func (a *API) RunnerHandler() http.Handler { return a.mux(a.runnerRoutes()) }

// Routes are the patterns of all routes, as http.ServeMux has them.
func (a *API) Routes() (patterns []string) {
	for _, r := range append(a.provisionerRoutes(), a.runnerRoutes()...) {
		patterns = append(patterns, r.pattern)
	}
	return patterns
}

func (a *API) mux(routes []route) http.Handler {
	mux := http.NewServeMux()
	for _, r := range routes {
		mux.Handle(r.pattern, a.serve(r))
	}
	// Wrong methods come here too, since this pattern matches them.
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { writeError(w, errNotFound) })
	return mux
}
