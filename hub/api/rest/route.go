package rest

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/slipway-ci/slipway/hub/api/problem"
	"github.com/slipway-ci/slipway/hub/queue"
)

// Route is one route of this API, as it was registered.
type Route struct {
	// Method and Path; the path with its {names}.
	Method, Path string
	// Role is the least that may use it.
	Role queue.Role
	// Action is its operationId, and Noun what it is about: both are in the audit log.
	Action, Noun string
}

// Rule is what is known of a route beside what OpenAPI says. Viewer, Operator and
// Admin make one.
type Rule struct {
	least queue.Role
	// noun begins the object of its audit entries: host/builder-01.
	noun string
	// routine: there are very many of its requests.
	routine bool
}

// keyRule is where an operation's rule is kept. An operation without one lets
// nobody in.
const keyRule = "slipway.rule"

// ruleOf is the zero rule, which no role covers, where there is none.
func ruleOf(op *huma.Operation) Rule {
	r, _ := op.Metadata[keyRule].(Rule)
	return r
}

// Register is the one way to a route: it can't be had without the least role that
// may use it.
func Register[I, O any](s *Server, r Rule, op huma.Operation, handle func(context.Context, *I) (*O, error)) {
	if !r.least.Valid() || r.noun == "" {
		panic(fmt.Sprintf("rest: route %s %s: a role and a noun are needed", op.Method, op.Path))
	}
	op.Metadata = map[string]any{keyRule: r}
	op.Extensions = map[string]any{"x-least-role": string(r.least)}
	op.Tags = []string{r.noun}
	s.routes = append(s.routes, Route{Method: op.Method, Path: op.Path, Role: r.least, Action: op.OperationID, Noun: r.noun})
	huma.Register(s.huma, op, handle)
}

// Viewer is the rule of routes about a noun that viewers may use.
func Viewer(noun string) Rule { return Rule{least: queue.RoleViewer, noun: noun} }

// Operator is that of routes for operators.
func Operator(noun string) Rule { return Rule{least: queue.RoleOperator, noun: noun} }

// Admin is that of routes for admins.
func Admin(noun string) Rule { return Rule{least: queue.RoleAdmin, noun: noun} }

// Often marks a rule of routes with very many requests.
func Often(r Rule) Rule {
	r.routine = true
	return r
}

// Operation describes one route; path comes after Prefix.
func Operation(id, method, path, summary string, errs ...int) huma.Operation {
	all := append([]int{http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests}, errs...)
	slices.Sort(all)
	return huma.Operation{
		OperationID: id, Method: method, Path: Prefix + path, Summary: summary,
		Errors: slices.Compact(all), MaxBodyBytes: maxBody, BodyReadTimeout: bodyTimeout,
	}
}

// Answering sets the status of success.
func Answering(status int, op huma.Operation) huma.Operation {
	op.DefaultStatus = status
	return op
}

// Routes are all routes, in the order of their paths. The OpenAPI document is not
// among them: it is for everybody.
func (s *Server) Routes() []Route {
	routes := slices.Clone(s.routes)
	slices.SortFunc(routes, func(a, b Route) int {
		return strings.Compare(a.Path+" "+a.Method, b.Path+" "+b.Method)
	})
	return routes
}

// Nouns are what routes are about, such as host: objects begin with them.
func (s *Server) Nouns() []string {
	return s.distinct(func(r Route) string { return r.Noun })
}

// Actions are the operationIds of all routes.
func (s *Server) Actions() []string {
	return s.distinct(func(r Route) string { return r.Action })
}

func (s *Server) distinct(of func(Route) string) (out []string) {
	for _, r := range s.routes {
		out = append(out, of(r))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// methods are those that a route may have.
var methods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}

// unknown answers what no route takes: 405 where another method would do.
func (s *Server) unknown(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, method := range methods {
		probe := r.Clone(r.Context())
		probe.Method = method
		if _, pattern := s.mux.Handler(probe); pattern != "" && pattern != "/" {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) == 0 {
		problem.New(http.StatusNotFound, "not-found", fmt.Sprintf("there is no route %.20s %.100s", r.Method, r.URL.Path)).Write(w, r)
		return
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	problem.New(http.StatusMethodNotAllowed, "method-not-allowed",
		fmt.Sprintf("%.20s is not for %.100s: %s is", r.Method, r.URL.Path, strings.Join(allowed, ", "))).Write(w, r)
}
