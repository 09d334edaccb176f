package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/api"
	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/tokens"
)

type jobs struct {
	Items []api.JobSummary `json:"items"`
	Next  *string          `json:"next"`
}

func TestSubmitShowCancel(t *testing.T) {
	h := newHub(t)
	canary := "canary-3141"
	job := h.submit(api.JobSpec{Labels: []string{"Linux", "x64", "linux"}, Run: "make\ntest", Env: map[string]string{"SECRET": canary, "A": ""}, TimeoutSeconds: 90.5, Retries: 2})
	require.Equal(t, []string{"linux", "x64"}, job.Labels)
	require.Equal(t, "make", job.Name)
	require.Equal(t, "queued", job.Status)
	require.Equal(t, []string{"A", "SECRET"}, job.EnvNames)
	require.InDelta(t, 90.5, job.TimeoutSeconds, 0)
	require.Equal(t, 2, job.Retries)

	a := h.do("GET", "jobs/"+job.ID, nil)
	require.NotContains(t, a.body, canary, "values of variables are told to the runner alone")
	require.Contains(t, a.body, `"exit_code":null`)
	require.NotContains(t, a.body, "$schema")

	h.into(200, h.do("POST", "jobs/"+job.ID+"/cancel", nil), &job)
	require.Equal(t, "cancelled", job.Status)
	require.NotNil(t, job.FinishedAt)
	h.into(200, h.do("POST", "jobs/"+job.ID+"/cancel", nil), &job)
	require.Equal(t, "cancelled", job.Status, "cancelling again changes nothing")

	var events struct{ Items []api.JobEvent }
	h.into(200, h.do("GET", "jobs/"+job.ID+"/events", nil), &events)
	require.Len(t, events.Items, 2)
	require.Equal(t, "queued", events.Items[0].Status)
	require.Equal(t, "cancelled", events.Items[1].Status)

	for _, path := range []string{"jobs/nope", "jobs/nope/events", "jobs/nope/logs"} {
		h.problem(404, "not-found", h.do("GET", path, nil))
	}
	h.problem(404, "not-found", h.do("POST", "jobs/nope/cancel", nil))
	h.problem(404, "not-found", h.do("GET", "nothing", nil))
	a = h.do("DELETE", "jobs", nil)
	h.problem(405, "method-not-allowed", a)
	require.Equal(t, "GET, HEAD, POST", a.header.Get("Allow"))
}

func TestLimits(t *testing.T) {
	h := newHub(t)
	canary := "canary-2718"
	many := make([]string, 21)
	for i := range many {
		many[i] = "l" + strings.Repeat("x", i)
	}
	env := map[string]string{}
	for i := range 257 {
		env["V"+strings.Repeat("A", i%250)+string(rune('A'+i/250))] = canary
	}
	for name, c := range map[string]struct{ body, location string }{
		"no labels":       {`{"run": "x"}`, "body"},
		"empty labels":    {`{"run": "x", "labels": []}`, "body.labels"},
		"bad label":       {`{"run": "x", "labels": ["a b"]}`, "body.labels"},
		"many labels":     {text(t, api.JobSpec{Run: "x", Labels: many}), "body.labels"},
		"nothing to run":  {`{"labels": ["a"]}`, "body.run"},
		"run and command": {`{"labels": ["a"], "run": "x", "command": ["y"]}`, "body.run"},
		"long script":     {text(t, api.JobSpec{Labels: []string{"a"}, Run: strings.Repeat("x", 256<<10+1)}), "body.run"},
		"long name":       {text(t, api.JobSpec{Labels: []string{"a"}, Run: "x", Name: strings.Repeat("x", 201)}), "body.name"},
		"much env":        {text(t, api.JobSpec{Labels: []string{"a"}, Run: "x", Env: map[string]string{"A": canary + strings.Repeat("x", 128<<10)}}), "body.env"},
		"many env":        {text(t, api.JobSpec{Labels: []string{"a"}, Run: "x", Env: env}), "body.env"},
		"bad env":         {`{"labels": ["a"], "run": "x", "env": {"1=": "` + canary + `"}}`, "body.env"},
		"env no text":     {`{"labels": ["a"], "run": "x", "env": {"A": {"` + canary + `": "` + canary + `"}}}`, "body.env.A"},
		"long timeout":    {`{"labels": ["a"], "run": "x", "timeout_seconds": 604801}`, "body.timeout_seconds"},
		"short timeout":   {`{"labels": ["a"], "run": "x", "timeout_seconds": 0.5}`, "body.timeout_seconds"},
		"negative":        {`{"labels": ["a"], "run": "x", "timeout_seconds": -1}`, "body.timeout_seconds"},
		"retries":         {`{"labels": ["a"], "run": "x", "retries": 11}`, "body.retries"},
		"unknown key":     {`{"labels": ["a"], "run": "x", "runn": "` + canary + `"}`, "body.runn"},
	} {
		t.Run(name, func(t *testing.T) {
			a := h.do("POST", "jobs", c.body)
			p := h.problem(422, "invalid", a)
			require.NotEmpty(t, p.Errors)
			require.Equal(t, c.location, p.Errors[0].Location, "%s", a.body)
			require.NotContains(t, a.body, canary, "an error must not repeat a value")
		})
	}
	h.problem(400, "invalid", h.do("POST", "jobs", `{"labels`))
	p := h.problem(413, "too-large", h.do("POST", "jobs", `{"labels": ["a"], "run": "`+strings.Repeat("x", 1<<20)+`"}`))
	require.Equal(t, "the body is too large: at most 1048576 bytes", p.Detail)
	h.problem(422, "invalid", h.do("GET", "jobs?limit=501", nil))
	h.problem(422, "invalid", h.do("GET", "jobs?status=odd", nil))
	h.problem(422, "invalid", h.do("GET", "jobs?label=a%20b", nil))
	h.problem(422, "invalid", h.do("GET", "jobs?cursor=-", nil))
	h.problem(422, "invalid", h.do("GET", "jobs?colour=red", nil))
}

func text(t *testing.T, v any) string {
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return string(b)
}

func TestIdempotencyKey(t *testing.T) {
	h := newHub(t)
	spec := api.JobSpec{Labels: []string{"a"}, Run: "x", Env: map[string]string{"A": "1"}}
	ids := make([]string, 20)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			var job api.Job
			h.into(201, h.do("POST", "jobs", spec, "Idempotency-Key", "k"), &job)
			ids[i] = job.ID
		})
	}
	wg.Wait()
	for _, id := range ids {
		require.Equal(t, ids[0], id, "one key is one job, however often it is sent")
	}
	require.NotEqual(t, ids[0], h.submit(spec).ID)
	spec.Env["A"] = "2"
	h.problem(409, "idempotency-key-reused", h.do("POST", "jobs", spec, "Idempotency-Key", "k"))
	h.problem(422, "invalid", h.do("POST", "jobs", spec, "Idempotency-Key", strings.Repeat("k", 201)))
}

func TestList(t *testing.T) {
	h := newHub(t)
	var want []string
	for i := range 5 {
		labels := []string{"a"}
		if i%2 == 0 {
			labels = append(labels, "gpu")
		}
		job := h.submit(api.JobSpec{Labels: labels, Run: "x", Name: "Job number " + string(rune('0'+i))})
		want = append([]string{job.ID}, want...)
	}
	list := func(query string) (ids []string, next string) {
		var page jobs
		h.into(200, h.do("GET", "jobs?"+query, nil), &page)
		require.NotNil(t, page.Items)
		for _, job := range page.Items {
			ids = append(ids, job.ID)
		}
		if page.Next != nil {
			next = *page.Next
		}
		return ids, next
	}
	var got []string
	for cursor, pages := "", 1; ; pages++ {
		ids, next := list("limit=2&cursor=" + url.QueryEscape(cursor))
		got = append(got, ids...)
		if cursor = next; cursor == "" {
			require.Equal(t, 3, pages)
			break
		}
	}
	require.Equal(t, want, got, "the newest first, each once")
	ids, _ := list("label=GPU&label=a")
	require.Equal(t, []string{want[0], want[2], want[4]}, ids)
	ids, _ = list("name=NUMBER%203")
	require.Equal(t, []string{want[1]}, ids)
	h.do("POST", "jobs/"+want[2]+"/cancel", nil)
	ids, _ = list("status=cancelled,failed")
	require.Equal(t, []string{want[2]}, ids)
	ids, _ = list("status=running")
	require.Empty(t, ids)
}

// Why: a page of 500 jobs with long scripts would be 131 MB, made for whoever may look.
func TestAListDoesNotTellWhatJobsRun(t *testing.T) {
	h := newHub(t)
	long := api.JobSpec{Labels: make([]string, 20), Run: "echo canary\n" + strings.Repeat("é", 100_000), Name: strings.Repeat("😀", 200), Env: map[string]string{}}
	for i := range long.Labels {
		long.Labels[i] = strings.Repeat("l", 127) + string(rune('a'+i))
	}
	for i := range 256 {
		long.Env["canary_"+strings.Repeat("V", 200)+string(rune('A'+i%26))+string(rune('A'+i/26))] = "canary"
	}
	job := h.submit(long)
	h.submit(api.JobSpec{Labels: []string{"a"}, Command: []string{"canary", strings.Repeat("x", 200_000)}, Name: "b"})
	list := h.do("GET", "jobs", nil)
	require.Less(t, len(list.body), 2*8<<10, "a page is at most 4 MiB: 8 KiB for each of 500")
	require.NotContains(t, list.body, "canary")
	for _, key := range []string{`"run"`, `"command"`, `"env_names"`} {
		require.NotContains(t, list.body, key)
	}
	var page jobs
	h.into(200, list, &page)
	require.Len(t, page.Items, 2)
	require.Equal(t, job.JobSummary, page.Items[1], "all else is as it is of one job")
	var shown api.Job
	h.into(200, h.do("GET", "jobs/"+job.ID, nil), &shown)
	require.Equal(t, long.Run, shown.Run)
	require.Len(t, shown.EnvNames, 256)
}

func TestShowWaitsForTheEnd(t *testing.T) {
	h := newHub(t)
	job := h.submit(api.JobSpec{Labels: []string{"a"}, Run: "x"})
	claim := h.claim("a")
	h.append(claim, 0, "12345")
	var shown api.Job
	h.into(200, h.do("GET", "jobs/"+job.ID+"?wait_seconds=1", nil), &shown)
	require.Equal(t, "running", shown.Status, "the wait is bounded")
	require.Equal(t, int64(5), shown.LogBytes)
	require.Equal(t, 1, shown.Attempt)

	var wg sync.WaitGroup
	var a answer
	began := time.Now()
	wg.Go(func() { a = h.do("GET", "jobs/"+job.ID+"?wait_seconds=60", nil) })
	h.finish(claim, queue.OutcomeFailed, 3)
	wg.Wait()
	h.into(200, a, &shown)
	require.Equal(t, "failed", shown.Status)
	require.Equal(t, 3, *shown.ExitCode)
	require.Less(t, time.Since(began), 30*time.Second, "the end must wake who waits for it")
}

func TestStorageFull(t *testing.T) {
	h := newHub(t)
	job := h.submit(api.JobSpec{Labels: []string{"a"}, Run: "x"})
	h.full = true
	h.problem(507, "storage-full", h.do("POST", "jobs", api.JobSpec{Labels: []string{"a"}, Run: "x"}))
	h.into(200, h.do("POST", "jobs/"+job.ID+"/cancel", nil), &job)
	require.Equal(t, "cancelled", job.Status, "cancels are still stored")
}

func TestTokens(t *testing.T) {
	h := newHub(t)
	var made api.NewToken
	h.into(201, h.do("POST", "tokens", api.TokenSpec{Kind: "provisioner", API: "ert", Name: "old one", ExpiresInSeconds: 3600}), &made)
	secret, err := tokens.Parse(made.Secret)
	require.NoError(t, err)
	require.Equal(t, tokens.Provisioner, secret.Kind())
	require.Equal(t, secret.Prefix(), made.Prefix)
	require.WithinDuration(t, time.Now().Add(time.Hour), *made.ExpiresAt, time.Minute)
	_, err = h.queue.Authenticate(t.Context(), made.Secret, tokens.Provisioner)
	require.NoError(t, err)

	a := h.do("GET", "tokens", nil)
	require.NotContains(t, a.body, made.Secret[12:], "a secret is shown once")
	require.NotContains(t, a.body, h.token[12:])
	require.Contains(t, a.body, `"api":"ert"`)

	require.Equal(t, 204, h.do("DELETE", "tokens/"+made.ID, nil).status)
	require.Equal(t, 204, h.do("DELETE", "tokens/"+made.ID, nil).status, "revoking again changes nothing")
	_, err = h.queue.Authenticate(t.Context(), made.Secret, tokens.Provisioner)
	require.ErrorIs(t, err, queue.ErrTokenRevoked)
	h.problem(404, "not-found", h.do("DELETE", "tokens/nope", nil))
	h.problem(422, "invalid", h.do("POST", "tokens", `{"kind": "agent"}`))
	h.problem(422, "invalid", h.do("POST", "tokens", `{"kind": "admin", "api": "ert"}`))
}

func TestFirstAdminIsMadeOnceAndAgainWhenAllAreRevoked(t *testing.T) {
	h := newHub(t)
	_, made, err := api.FirstAdmin(t.Context(), h.queue)
	require.NoError(t, err)
	require.False(t, made)
	known, err := h.queue.Tokens(t.Context())
	require.NoError(t, err)
	h.problem(409, "last-admin", h.do("DELETE", "tokens/"+known[0].ID, nil))
	require.Equal(t, 200, h.do("GET", "jobs", nil).status, "it is kept")
	_, err = h.queue.RevokeToken(t.Context(), known[0].ID)
	require.NoError(t, err)
	h.problem(401, "token-revoked", h.do("GET", "jobs", nil))
	_, made, err = api.FirstAdmin(t.Context(), h.queue)
	require.NoError(t, err)
	require.True(t, made, "nobody must be locked out for good")

	_, _, err = h.queue.CreateToken(t.Context(), queue.TokenSpec{Kind: tokens.API, Role: queue.RoleAdmin})
	require.NoError(t, err)
	known, err = h.queue.Tokens(t.Context())
	require.NoError(t, err)
	for _, token := range known {
		if token.Kind == tokens.Admin {
			_, err = h.queue.RevokeToken(t.Context(), token.ID)
			require.NoError(t, err)
		}
	}
	_, made, err = api.FirstAdmin(t.Context(), h.queue)
	require.NoError(t, err)
	require.False(t, made, "an API token with the role is an admin's, too")
}

func TestAuthentication(t *testing.T) {
	h := newHub(t, func(c *api.Config) { c.Failures = 5 })
	good := h.token
	_, other, err := h.queue.CreateToken(t.Context(), queue.TokenSpec{Kind: tokens.Provisioner})
	require.NoError(t, err)
	for i, bad := range []string{"", "nonsense", tokens.New(tokens.Admin).Reveal(), other.Reveal(), good + "x"} {
		h.token = bad
		a := h.do("GET", "jobs", nil)
		h.problem(401, "unauthorized", a)
		require.Equal(t, "Bearer", a.header.Get("WWW-Authenticate"), "%d", i)
	}
	a := h.do("GET", "jobs", nil)
	h.problem(429, "too-many-failures", a)
	require.NotEmpty(t, a.header.Get("Retry-After"))

	// Whoever has a good token is not made to suffer for a neighbour.
	h.token = good
	for range 50 {
		require.Equal(t, 200, h.do("GET", "jobs", nil).status)
	}
	require.Equal(t, 200, h.do("GET", "jobs", nil, "Authorization", "bEaReR "+good).status)
}

// Failures are counted by who makes them, as the hub's edge knows it: of IPv6 that is
// a whole /64, which everybody has.
func TestFailuresAreCountedByNetwork(t *testing.T) {
	from := ""
	h := newHub(t, func(c *api.Config) {
		c.Failures = 2
		c.ClientIP = func(*http.Request) string { return from }
	})
	good := h.token
	for _, addresses := range [][]string{
		{"2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::3"}, {"192.0.2.1", "192.0.2.1", "192.0.2.1"}, {"::ffff:192.0.2.9", "::ffff:192.0.2.9", "::ffff:192.0.2.9"},
	} {
		h.token = "x"
		for i, address := range addresses {
			from = address
			require.Equal(t, map[bool]int{true: 401, false: 429}[i < 2], h.do("GET", "jobs", nil).status, "%s", address)
		}
		h.token = good
		require.Equal(t, 200, h.do("GET", "jobs", nil).status)
	}
	h.token = "x"
	for _, other := range []string{"2001:db8:0:1::1", "192.0.2.2", "::ffff:192.0.2.8"} {
		from = other
		require.Equal(t, 401, h.do("GET", "jobs", nil).status, "%s did nothing", other)
	}
}

func TestOpenAPI(t *testing.T) {
	h := newHub(t)
	h.token = ""
	var document struct {
		OpenAPI string                    `json:"openapi"`
		Paths   map[string]map[string]any `json:"paths"`
	}
	h.into(200, h.do("GET", "openapi.json", nil), &document)
	require.True(t, strings.HasPrefix(document.OpenAPI, "3.1"))
	listed := 0
	for _, route := range h.handler.Routes() {
		op, found := document.Paths[route.Path][strings.ToLower(route.Method)]
		require.True(t, found, "%s %s must be in the document", route.Method, route.Path)
		require.Equal(t, string(route.Role), op.(map[string]any)["x-least-role"])
		listed++
	}
	for _, methods := range document.Paths {
		listed -= len(methods)
	}
	require.Zero(t, listed, "what is in the document must be a route with a role")
	require.NotContains(t, h.do("GET", "openapi.json", nil).body, "$schema")
}

// A client that gives up, or a hub that stops, is no error for the log.
func TestAnEndedRequestIsNoFault(t *testing.T) {
	var log bytes.Buffer
	h := newHub(t, func(c *api.Config) { c.Logger = hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Trace}) })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	request := httptest.NewRequestWithContext(ctx, http.MethodGet, "/api/v1/jobs", nil)
	request.Header.Set("Authorization", "Bearer "+h.token)
	answer := httptest.NewRecorder()
	h.server.Config.Handler.ServeHTTP(answer, request)
	require.Equal(t, http.StatusServiceUnavailable, answer.Code, answer.Body.String())
	require.NotContains(t, log.String(), "ERROR")
}

// Every request has an id, in its answer and in its problem; a bad one is replaced.
func TestRequestsHaveIDs(t *testing.T) {
	h := newHub(t)
	for brought, kept := range map[string]bool{"": false, "a.b-C_9": true, "a b": false, "<x>": false, strings.Repeat("x", 65): false} {
		for path, code := range map[string]string{"jobs/nope": "not-found", "nope": "not-found", "jobs?limit=x": "invalid"} {
			a := h.do("GET", path, nil, "X-Request-Id", brought)
			id := a.header.Get("X-Request-Id")
			require.NotEmpty(t, id)
			require.Equal(t, kept, id == brought)
			require.Equal(t, id, h.problem(a.status, code, a).RequestID)
			require.Equal(t, "no-store", a.header.Get("Cache-Control"))
		}
	}
}

// Parameters with several values come repeated or with commas.
func TestRepeatedParameters(t *testing.T) {
	h := newHub(t)
	first := h.submit(api.JobSpec{Labels: []string{"a", "b"}, Run: "x"})
	h.submit(api.JobSpec{Labels: []string{"a"}, Run: "x"})
	h.do("POST", "jobs/"+first.ID+"/cancel", nil)
	for query, want := range map[string]int{
		"status=queued&status=cancelled": 2, "status=queued,cancelled": 2, "status=cancelled": 1, "label=a&label=b": 1, "label=a,b": 1, "label=a": 2,
	} {
		var page jobs
		h.into(200, h.do("GET", "jobs?"+query, nil), &page)
		require.Len(t, page.Items, want, query)
	}
	h.problem(422, "invalid", h.do("GET", "jobs?name=a&name=b&limit=1&limit=2", nil))
}
