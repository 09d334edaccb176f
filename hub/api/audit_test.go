package api_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/api"
	"github.com/slipway-ci/slipway/hub/events"
	"github.com/slipway-ci/slipway/hub/hosts"
	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/storage"
	"github.com/slipway-ci/slipway/tokens"
)

func (w *world) audit(query string) []api.AuditEntry {
	w.t.Helper()
	var page struct{ Items []api.AuditEntry }
	w.into(200, w.do("GET", "audit?"+query, nil), &page)
	return page.Items
}

// as makes a token with a role and returns its text and id.
func (w *world) as(role queue.Role) (secret, id string) {
	w.t.Helper()
	token, text, err := w.queue.CreateToken(w.t.Context(), queue.TokenSpec{Kind: tokens.API, Role: role, Name: "token of " + string(role)})
	require.NoError(w.t, err)
	return text.Reveal(), token.ID
}

func TestChangesAreAudited(t *testing.T) {
	w := newWorld(t, func(c *api.Config) { c.ClientIP = func(*http.Request) string { return "192.0.2.7" } })
	w.add("a")
	secret, id := w.as(queue.RoleOperator)
	bearer := []string{"Authorization", "Bearer " + secret, "X-Request-Id", "my-request.1"}
	a := w.do("PATCH", "hosts/a", `{"max_runners": 4, "labels": {"x": "y"}}`, bearer...)
	require.Equal(t, 200, a.status)
	require.Equal(t, "my-request.1", a.header.Get("X-Request-Id"))
	e := w.audit("action=edit-host")[0]
	require.WithinDuration(t, time.Now(), e.At, time.Minute)
	changes := []api.FieldChange{{Field: "labels", Before: map[string]any{}, After: map[string]any{"x": "y"}}, {Field: "max_runners", Before: 0.0, After: 4.0}}
	require.Equal(t, api.AuditEntry{
		ID: e.ID, At: e.At, TokenID: id, TokenName: "token of operator", Role: "operator", Address: "192.0.2.7", RequestID: "my-request.1",
		Method: "PATCH", Route: "/api/v1/hosts/{name}", Action: "edit-host", Object: "host/a", Status: 200, Outcome: "done", Changes: changes,
	}, e)

	// What fails is there too: refused, invalid, stale, not found.
	w.problem(403, "forbidden", w.do("DELETE", "hosts/a", nil, bearer...))
	w.problem(412, "stale", w.do("PATCH", "hosts/a", `{}`, append(bearer, "If-Match", `"99"`)...))
	w.problem(422, "invalid", w.do("PATCH", "hosts/a", `{"max_runners": -1}`, bearer...))
	w.problem(404, "not-found", w.do("POST", "hosts/nope/cordon", nil, bearer...))
	w.problem(403, "forbidden", w.do("GET", "audit", nil, bearer...))
	var outcomes []string
	for _, e := range w.audit("token=" + id) {
		outcomes = append(outcomes, e.Action+" "+e.Object+" "+e.Outcome)
	}
	require.Equal(t, []string{
		"list-audit audit forbidden", "cordon-host host/nope not-found", "edit-host host/a invalid", "edit-host host/a stale", "remove-host host/a forbidden", "edit-host host/a done",
	}, outcomes)
	require.Len(t, w.audit("token="+id+"&outcome=forbidden"), 2)
	require.Len(t, w.audit("object=host&outcome=forbidden"), 1)
	require.Empty(t, w.audit("since="+url.QueryEscape(time.Now().Add(time.Hour).Format(time.RFC3339))))
	w.problem(422, "invalid", w.do("GET", "audit?cursor=-", nil))
	w.problem(422, "invalid", w.do("GET", "audit?since=yesterday", nil))

	w.token = "sf_adm_x"
	w.problem(401, "unauthorized", w.do("DELETE", "hosts/a", nil))
	w.token, _ = w.as(queue.RoleAdmin)
	require.Len(t, w.audit("action=remove-host"), 1, "who is not known is not in the audit log")
}

// Every route that changes something writes one entry, whatever it is.
func TestEveryMutatingRouteIsAudited(t *testing.T) {
	w := newWorld(t)
	for _, route := range w.handler.Routes() {
		if route.Method == http.MethodGet {
			continue
		}
		path := strings.NewReplacer("{name}", "none", "{id}", "none", "/api/v1/", "").Replace(route.Path)
		before := len(w.audit("limit=500"))
		a := w.do(route.Method, path, nil)
		require.GreaterOrEqual(t, a.status, 400, "%s %s", route.Method, route.Path)
		list := w.audit("limit=500")
		require.Len(t, list, before+1, "%s %s", route.Method, route.Path)
		require.Equal(t, route.Method, list[0].Method)
		require.Equal(t, route.Path, list[0].Route)
		require.Equal(t, a.status, list[0].Status)
		require.NotEqual(t, "done", list[0].Outcome)
		require.NotEmpty(t, list[0].Object)
		require.NotEmpty(t, list[0].Detail)
	}
}

func TestNoSecretIsAudited(t *testing.T) {
	w := newWorld(t)
	w.add("a")
	var made api.NewToken
	w.into(201, w.do("POST", "tokens", api.TokenSpec{Kind: "api", Role: "viewer", Name: "sf_adm_AAAAAAAAAAAAAAAAAAAAAAAA"}), &made)
	w.submit(api.JobSpec{Labels: []string{"a"}, Run: "echo canary-run", Env: map[string]string{"A": "canary-env"}})
	require.Equal(t, 201, w.do("POST", "scale-sets", linux).status)
	require.Equal(t, 200, w.do("POST", "scale-sets/apply", "version: 1\nscale_sets:\n  x: {labels: [linux], image: x, cpu: 2, memory: 4GiB, max: 10, env: {A: canary-3}}\n",
		"Content-Type", "application/yaml").status)
	all := w.do("GET", "audit?limit=500", nil).body + w.do("GET", "events?limit=500", nil).body
	for _, secret := range []string{made.Secret[12:], "canary", "AAAAAAAAAAAAAAAAAAAAAAAA", "sf_het_"} {
		require.NotContains(t, all, secret)
	}
	require.Contains(t, all, `{"field":"env.A","before":null,"after":"(set)"}`)
	require.Contains(t, all, `{"field":"x: env.A","before":null,"after":"(set)"}`)
	require.Contains(t, all, `"object":"job/`)
}

// witness is called when an answer begins.
type witness struct {
	*httptest.ResponseRecorder
	begins func(status int)
}

func (w *witness) WriteHeader(status int) {
	w.begins(status)
	w.ResponseRecorder.WriteHeader(status)
}

// The audit entry of a change is there before its answer.
func TestTheEntryComesBeforeTheAnswer(t *testing.T) {
	var log bytes.Buffer
	failing := errors.New("disk is broken")
	broken := false
	w := newWorld(t, func(c *api.Config) {
		c.Logger = hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Error})
		var err error
		c.Events, err = events.New(events.Config{Queue: c.Queue, Guard: func(do func() error) error {
			if broken {
				return failing
			}
			return do()
		}})
		require.NoError(t, err)
	})
	w.add("a")
	for _, verb := range []string{"cordon", "uncordon"} {
		request := httptest.NewRequestWithContext(t.Context(), "POST", "/api/v1/hosts/a/"+verb, nil)
		request.Header.Set("Authorization", "Bearer "+w.token)
		answered := 0
		w.handler.ServeHTTP(&witness{httptest.NewRecorder(), func(status int) {
			answered++
			require.Equal(t, 200, status)
			require.Equal(t, verb+"-host", w.audit("limit=1")[0].Action, "the entry must be there when the answer begins")
		}}, request)
		require.Equal(t, 1, answered)
	}
	broken = true
	require.Equal(t, 200, w.do("POST", "hosts/a/cordon", nil).status, "what was done is answered as done")
	require.Contains(t, log.String(), "audit entry not written")
	require.Contains(t, log.String(), "cordon-host")
}

// What must be stored is stored on a full disk, by the reserve.
func TestAFullDisk(t *testing.T) {
	guard, err := storage.NewGuard(storage.GuardConfig{Dir: t.TempDir(), Reserve: 1 << 10, MinFree: 1, MinFreePercent: 0.0001})
	require.NoError(t, err)
	w := newWorld(t, func(c *api.Config) { c.Guard = guard })
	w.full = true
	w.problem(507, "storage-full", w.do("POST", "jobs", api.JobSpec{Labels: []string{"a"}, Run: "x"}))
	w.add("a")
	require.Equal(t, 200, w.do("POST", "hosts/a/drain", nil).status)
	require.Equal(t, "storage-full", w.audit("action=submit-job")[0].Outcome)
}

type registry = api.Hosts

// watchful notes what the log says when a change begins.
type watchful struct {
	registry
	log  *bytes.Buffer
	seen string
}

func (h *watchful) Cordon(ctx context.Context, name string) (hosts.Host, error) {
	h.seen = h.log.String()
	return h.registry.Cordon(ctx, name)
}

// Why: a hub that dies between a change and its audit entry must leave a trace of who
// asked for it.
func TestTheLogHasAChangeBeforeItHappens(t *testing.T) {
	var log bytes.Buffer
	seen := &watchful{log: &log}
	w := newWorld(t, func(c *api.Config) {
		c.Logger = hclog.New(&hclog.LoggerOptions{Output: &log})
		seen.registry, c.Hosts = c.Hosts, seen
	})
	w.add("a")
	secret, id := w.as(queue.RoleOperator)
	bearer := []string{"Authorization", "Bearer " + secret, "X-Request-Id", "my-request.1"}
	require.Equal(t, 200, w.do("POST", "hosts/a/cordon", nil, bearer...).status)
	for _, part := range []string{"change asked for", "action=cordon-host", "object=host/a", "token=" + id, "request=my-request.1"} {
		require.Contains(t, seen.seen, part)
	}
	pasted := tokens.New(tokens.Admin).Reveal()
	require.Equal(t, 404, w.do("POST", "hosts/"+pasted+"/cordon", nil, bearer...).status)
	w.submit(api.JobSpec{Labels: []string{"a"}, Run: "x"})
	require.NotContains(t, log.String(), pasted)
	require.NotContains(t, log.String(), "submit-job", "of jobs there are too many")
}
