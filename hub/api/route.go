package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/slipway-ci/slipway/hub/queue"
)

// Route is one route of this API, as it was registered.
type Route struct {
	// Method and Path; the path with its {names}.
	Method, Path string
	// Role is the least that may use it.
	Role queue.Role
}

// rule is what is known of a route beside what OpenAPI says.
type rule struct {
	least queue.Role
	// noun begins the object of its audit entries: host/builder-01.
	noun string
	// routine: there are very many of its requests.
	routine bool
}

// metaRule is where an operation's rule is kept. An operation without one lets
// nobody in.
const metaRule = "slipway.rule"

// ruleOf is the zero rule, which no role covers, where there is none.
func ruleOf(op *huma.Operation) rule {
	r, _ := op.Metadata[metaRule].(rule)
	return r
}

// register is the one way to a route: it can't be had without the least role that
// may use it.
func register[I, O any](s *Server, r rule, op huma.Operation, handle func(context.Context, *I) (*O, error)) {
	if !r.least.Valid() || r.noun == "" {
		panic(fmt.Sprintf("api: route %s %s: a role and a noun are needed", op.Method, op.Path))
	}
	op.Metadata = map[string]any{metaRule: r}
	op.Extensions = map[string]any{"x-least-role": string(r.least)}
	op.Tags = []string{r.noun}
	s.routes = append(s.routes, Route{Method: op.Method, Path: op.Path, Role: r.least})
	huma.Register(s.huma, op, handle)
}

// missing names what a route is about that this hub does not have; empty: nothing.
func (s *Server) missing(noun string) string {
	for _, part := range []struct {
		nouns   []string
		missing bool
		name    string
	}{
		{[]string{"hub"}, s.Info == nil, "information of itself"},
		{[]string{"host", "enrolment"}, s.Hosts == nil, "hosts"},
		{[]string{"scale-set", "credential"}, s.ScaleSets == nil, "scale sets"},
		{[]string{"runner"}, s.Fleet == nil, "runners"},
		{[]string{"event", "audit"}, s.Events == nil, "events"},
	} {
		if part.missing && slices.Contains(part.nouns, noun) {
			return part.name
		}
	}
	return ""
}

// viewer, operator and admin are the least roles of routes about a noun.
func viewer(noun string) rule   { return rule{least: queue.RoleViewer, noun: noun} }
func operator(noun string) rule { return rule{least: queue.RoleOperator, noun: noun} }
func admin(noun string) rule    { return rule{least: queue.RoleAdmin, noun: noun} }

// often marks a rule of routes with very many requests.
func often(r rule) rule {
	r.routine = true
	return r
}

// operation describes one route; path comes after Prefix.
func operation(id, method, path, summary string, errs ...int) huma.Operation {
	all := append([]int{http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests}, errs...)
	slices.Sort(all)
	return huma.Operation{
		OperationID: id, Method: method, Path: Prefix + path, Summary: summary,
		Errors: slices.Compact(all), MaxBodyBytes: maxBody, BodyReadTimeout: bodyTimeout,
	}
}

// answering sets the status of success.
func answering(status int, op huma.Operation) huma.Operation {
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
		writeProblem(w, r, newProblem(http.StatusNotFound, "not-found", fmt.Sprintf("there is no route %.20s %.100s", r.Method, r.URL.Path)))
		return
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	writeProblem(w, r, newProblem(http.StatusMethodNotAllowed, "method-not-allowed",
		fmt.Sprintf("%.20s is not for %.100s: %s is", r.Method, r.URL.Path, strings.Join(allowed, ", "))))
}
