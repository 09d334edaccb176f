package hub

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/api"
	"github.com/slipway-ci/slipway/hub/api/apitest"
	"github.com/slipway-ci/slipway/hub/hosts"
	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/queue/shipfoxapi"
	"github.com/slipway-ci/slipway/hub/runnerapi"
	"github.com/slipway-ci/slipway/hub/store/storetest"
	"github.com/slipway-ci/slipway/tokens"
)

// who says of every route beside the API for people (which has a table of its own)
// who may use it. foreign ones answer in the words of another API.
var who = map[string]apitest.Route{
	"GET /healthz": {Judge: apitest.Anybody},
	"GET /readyz":  {Judge: apitest.Anybody},
	"GET /metrics": {Judge: apitest.Role(queue.RoleViewer)},

	"GET /api/v1/agent/connect": {Judge: apitest.Kind(tokens.Agent), Foreign: true},
	"POST /api/v1/agent/enrol":  {Judge: used(apitest.Kind(tokens.Enrolment), tokens.Enrolment), Body: `{"agent":"` + uuid.NewString() + `","digest":"` + tokens.New(tokens.Agent).Digest().String() + `"}`, Type: "application/json"},

	"GET /api/v1/runner/hello":   {Judge: apitest.Anybody},
	"GET /api/v1/runner/job":     {Judge: apitest.Kind(apitest.KindLease), Foreign: true},
	"POST /api/v1/runner/log":    {Judge: apitest.Kind(apitest.KindLease), Foreign: true, Path: "/api/v1/runner/log?offset=0"},
	"POST /api/v1/runner/result": {Judge: apitest.Kind(apitest.KindLease), Foreign: true, Body: `{"outcome":"succeeded"}`, Type: "application/json"},

	"GET /provisioners/me":                                     provisioners,
	"POST /provisioners/demand/poll":                           provisioners,
	"POST /provisioners/runner-instances/batch":                provisioners,
	"POST /provisioners/runner-instances/{id}/provider-runner": provisioners,
	"POST /provisioners/runner-instances/assignments":          provisioners,
	"POST /provisioners/runner-instances/report":               provisioners,
	"POST /provisioners/runner-instances/reconcile":            provisioners,
	"POST /provisioners/provisioned-runners/report":            provisioners,
	"POST /provisioners/provisioned-runners/reconcile":         provisioners,
	"POST /provisioners/runner-registration-tokens/batch":      provisioners,

	"POST /runner-control/enrollment": {
		Judge: apitest.Kind(tokens.ControlSession), Foreign: true, Body: `{"labels":["linux"],"provider_kind":"x","protocol_version":"1"}`, Type: "application/json",
	},
	"POST /runner-control/provider-runner": {Judge: apitest.Kind(tokens.ControlSession), Foreign: true, Body: `{"provider_runner_id":"x"}`, Type: "application/json"},
	"POST /runner-control/heartbeat":       {Judge: apitest.Kind(tokens.ControlSession), Foreign: true},
	"GET /runner-control/assignment":       {Judge: apitest.Kind(tokens.ControlSession), Foreign: true, Path: "/runner-control/assignment?wait_seconds=1"},
	"POST /runners/register": {
		Judge: used(apitest.Kind(tokens.ManualRegistration, tokens.EphemeralRegistration, tokens.Activation), tokens.EphemeralRegistration, tokens.Activation), Foreign: true, Body: `{"labels":["linux"]}`, Type: "application/json",
	},
	"POST /runners/jobs/request":        {Judge: apitest.Kind(apitest.KindSession), Foreign: true},
	"POST /runners/jobs/{id}/heartbeat": {Judge: apitest.Kind(apitest.KindLease), Foreign: true, Path: "/runners/jobs/" + uuid.NewString() + "/heartbeat"},
}

// used is next, but for tokens of these kinds that were used up: that is told.
func used(next apitest.Judge, kinds ...tokens.Kind) apitest.Judge {
	return func(c apitest.Credential) int {
		word, _, _ := strings.Cut(c.Name, " ")
		if slices.Contains(kinds, c.Kind) && (word == "used" || word == "spent") {
			return http.StatusConflict
		}
		return next(c)
	}
}

// exchange has its token in the body, and a test of its own.
const exchange = "POST /runner-enrollment/exchange"

var provisioners = apitest.Route{Judge: apitest.Kind(tokens.Provisioner), Foreign: true}

// Every route of the hub times every kind of credential: good, unknown, expired,
// revoked, used up, of the wrong kind, and of another host.
func TestWhoMayUseWhichRoute(t *testing.T) {
	h, err := Open(t.Context(), Config{
		DataDir: storetest.Dir(t), Listen: "127.0.0.1:0", MinFree: 1, MinFreePercent: 0.0001, Reserve: 4096,
		PublicURL: "http://127.0.0.1:1",
	})
	require.NoError(t, err)
	defer func() { require.NoError(t, h.Close()) }()
	all, runners, err := h.handlers()
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	fleetEnded := make(chan error, 1)
	go func() { fleetEnded <- h.compute.fleet.Run(ctx) }()
	defer func() { stop(); require.NoError(t, <-fleetEnded) }()
	<-h.compute.fleet.Opened()

	fox, err := shipfoxapi.New(shipfoxapi.Config{Queue: h.queue})
	require.NoError(t, err)
	var routes []apitest.Route
	for _, pattern := range append(append(fox.Routes(), runnerapi.Routes()...),
		"GET /healthz", "GET /readyz", "GET /metrics", "GET /api/v1/agent/connect", "POST /api/v1/agent/enrol") {
		if pattern == exchange {
			continue
		}
		route, known := who[pattern]
		require.True(t, known, "nobody said who may use %s", pattern)
		route.Method, route.Pattern, _ = strings.Cut(pattern, " ")
		routes = append(routes, route)
	}
	require.Len(t, routes, len(who), "of these there is none: %v", slices.Sorted(maps.Keys(who)))
	people, err := api.New(api.Config{Queue: h.queue, Logs: h.logs, Events: h.events, Hosts: h.compute.hosts, ScaleSets: h.compute.scaleSets, Fleet: h.compute.fleet})
	require.NoError(t, err)
	for _, route := range people.Routes() {
		routes = append(routes, apitest.Route{Method: route.Method, Pattern: route.Path, Judge: apitest.Role(route.Role)})
	}
	credentials := credentialsOf(t, h)
	apitest.Check(t, all, routes, credentials)

	for _, c := range credentials {
		_, text, _ := strings.Cut(c.Authorization(), " ")
		request := httptest.NewRequest("POST", "/runner-enrollment/exchange", strings.NewReader(`{"bootstrap_token":"`+cmp.Or(text, "none")+`"}`))
		request.Header.Set("Content-Type", "application/json")
		answer := httptest.NewRecorder()
		all.ServeHTTP(answer, request)
		want := http.StatusUnauthorized
		if c.Good && c.Kind == tokens.Bootstrap {
			want = http.StatusOK
		}
		require.Equal(t, want, answer.Code, "%s: %s", c.Name, answer.Body)
	}

	// What runners can reach has no route but theirs, whoever asks.
	for _, route := range routes {
		path := strings.ReplaceAll(strings.ReplaceAll(route.Pattern, "{", ""), "}", "")
		ours := strings.HasPrefix(path, "/api/v1/runner/") || strings.HasPrefix(path, "/runner-") || strings.HasPrefix(path, "/runners/")
		if !ours {
			require.Equal(t, 404, statusOf(runners, route.Method, path, credentials), "%s %s", route.Method, path)
		}
	}
}

// credentialsOf are those of the queue, and the tokens of hosts.
func credentialsOf(t *testing.T, h *Hub) []apitest.Credential {
	t.Helper()
	all := apitest.Credentials(t, h.queue)
	registry := h.compute.hosts
	add := func(name string) (hosts.Host, tokens.Token) {
		host, invitation, err := registry.Add(t.Context(), hosts.HostSpec{Name: name})
		require.NoError(t, err)
		return host, invitation.Token
	}
	enrol := func(name string) (tokens.Token, tokens.Token) {
		_, invitation := add(name)
		agent := tokens.New(tokens.Agent)
		_, err := registry.Enrol(t.Context(), invitation, uuid.NewString(), agent.Digest())
		require.NoError(t, err)
		return agent, invitation
	}
	_, invited := add("invited")
	good, spent := enrol("good")
	revoked, _ := enrol("revoked")
	require.NoError(t, registry.Revoke(t.Context(), "revoked"))
	return append(all,
		apitest.Bearer("good het", tokens.Enrolment, true, invited.Reveal()), apitest.Bearer("spent het", tokens.Enrolment, false, spent.Reveal()),
		apitest.Bearer("good agt", tokens.Agent, true, good.Reveal()), apitest.Bearer("revoked agt", tokens.Agent, false, revoked.Reveal()),
	)
}

// statusOf is the one answer that everybody gets.
func statusOf(handler http.Handler, method, path string, credentials []apitest.Credential) int {
	status := 0
	for _, c := range credentials {
		request := httptest.NewRequest(method, path, nil)
		if text := c.Authorization(); text != "" {
			request.Header.Set("Authorization", text)
		}
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request)
		if status != 0 && status != answer.Code {
			return -1
		}
		status = answer.Code
	}
	return status
}
