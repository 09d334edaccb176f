package api_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/api"
	"github.com/slipway-ci/slipway/hub/api/apitest"
	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/tokens"
)

// least says of every route who may use it, once more: by hand, as a reader of the
// documentation expects it. A route that is not here fails the test.
var least = map[string]queue.Role{
	"GET /api/v1/whoami": "viewer", "GET /api/v1/hub": "viewer",

	"GET /api/v1/jobs": "viewer", "GET /api/v1/jobs/{id}": "viewer", "GET /api/v1/jobs/{id}/events": "viewer", "GET /api/v1/jobs/{id}/logs": "viewer", "GET /api/v1/jobs/{id}/why": "viewer",
	"POST /api/v1/jobs": "operator", "POST /api/v1/jobs/{id}/cancel": "operator",

	"GET /api/v1/tokens": "admin", "POST /api/v1/tokens": "admin", "DELETE /api/v1/tokens/{id}": "admin",

	"GET /api/v1/hosts": "viewer", "GET /api/v1/hosts/{name}": "viewer",
	"PATCH /api/v1/hosts/{name}": "operator", "POST /api/v1/hosts/{name}/cordon": "operator", "POST /api/v1/hosts/{name}/uncordon": "operator",
	"POST /api/v1/hosts/{name}/drain": "operator", "POST /api/v1/hosts/{name}/rotate-token": "operator",
	"POST /api/v1/hosts/{name}/update": "operator", "POST /api/v1/hosts/update": "operator",
	"POST /api/v1/hosts": "admin", "DELETE /api/v1/hosts/{name}": "admin", "POST /api/v1/hosts/{name}/reenrol": "admin", "POST /api/v1/hosts/{name}/revoke": "admin",
	"GET /api/v1/enrolments": "viewer", "DELETE /api/v1/enrolments/{id}": "admin",

	"GET /api/v1/scale-sets": "viewer", "GET /api/v1/scale-sets/{name}": "viewer", "GET /api/v1/scale-sets/export": "viewer", "GET /api/v1/scale-sets/{name}/placement": "viewer",
	"POST /api/v1/scale-sets": "operator", "PUT /api/v1/scale-sets/{name}": "operator", "DELETE /api/v1/scale-sets/{name}": "operator", "POST /api/v1/scale-sets/apply": "operator",
	"GET /api/v1/credentials": "viewer", "PUT /api/v1/credentials/{name}": "admin", "DELETE /api/v1/credentials/{name}": "admin",

	"GET /api/v1/runners": "viewer", "GET /api/v1/runners/{id}": "viewer", "GET /api/v1/runners/{id}/logs": "viewer", "POST /api/v1/runners/{id}/stop": "operator",

	"GET /api/v1/events": "viewer", "GET /api/v1/events/stream": "viewer", "GET /api/v1/audit": "admin",
}

// credentials are those of apitest and the tokens of hosts.
func (w *world) credentials() []apitest.Credential {
	list := apitest.Credentials(w.t, w.queue)
	_, invitation := w.add("table-a")
	spent, enrolment := w.add("table-b")
	agent := tokens.New(tokens.Agent)
	_, err := w.hosts.Enrol(w.t.Context(), enrolment, uuid.NewString(), agent.Digest())
	require.NoError(w.t, err)
	c := apitest.Bearer("good agt", tokens.Agent, true, agent.Reveal())
	c.Subject = spent.ID
	return append(list, c, apitest.Bearer("good het", tokens.Enrolment, true, invitation.Reveal()), apitest.Bearer("spent het", tokens.Enrolment, false, enrolment.Reveal()))
}

// Every route times every credential: the list of routes is the OpenAPI document's.
func TestWhoMayUseWhichRoute(t *testing.T) {
	w := newWorld(t, func(c *api.Config) { c.Failures = 1 })
	var document struct {
		Paths map[string]map[string]struct {
			Role queue.Role `json:"x-least-role"`
		} `json:"paths"`
	}
	token := w.token
	w.token = ""
	require.NoError(t, json.Unmarshal([]byte(w.do("GET", "openapi.json", nil).body), &document))
	w.token = token
	routes := 0
	for path, methods := range document.Paths {
		for method, op := range methods {
			require.Equal(t, least[strings.ToUpper(method)+" "+path], op.Role, "%s %s", method, path)
			routes++
		}
	}
	require.Equal(t, len(w.handler.Routes()), routes, "the document has them all")
	credentials := w.credentials()
	before := w.everything()
	apitest.Check(t, w.handler, apitest.Of(w.handler), credentials)
	require.Equal(t, before, w.everything(), "none of that changed anything")
}

// everything is what the API can show, but for the events and the audit log, and
// for what the table itself makes: jobs and tokens of provisioners.
func (w *world) everything() []string {
	var all []string
	for _, path := range []string{"hosts", "enrolments", "scale-sets", "credentials", "runners"} {
		a := w.do("GET", path, nil)
		require.Equal(w.t, 200, a.status, a.body)
		all = append(all, a.body)
	}
	var made struct{ Items []api.Token }
	w.into(200, w.do("GET", "tokens", nil), &made)
	for _, token := range made.Items {
		if token.Kind != "provisioner" {
			all = append(all, text(w.t, token))
		}
	}
	return all
}

// A route can't be had without saying who may use it.
func TestRoutesHaveRoles(t *testing.T) {
	sources, err := filepath.Glob("*.go")
	require.NoError(t, err)
	below, err := filepath.Glob("rest/*.go")
	require.NoError(t, err)
	require.Contains(t, below, "rest/route.go")
	for _, name := range append(sources, below...) {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		if !strings.HasSuffix(name, "_test.go") && name != "rest/route.go" {
			require.NotRegexp(t, `huma\.(Register|Get|Post|Put|Patch|Delete)\b`, string(text), "%s: register is the one way to a route", name)
		}
	}
	h := newHub(t)
	require.Len(t, h.handler.Routes(), len(least))
	for _, route := range h.handler.Routes() {
		require.Equal(t, least[route.Method+" "+route.Path], route.Role)
	}
}
