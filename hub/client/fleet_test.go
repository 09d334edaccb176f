package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/client"
	"github.com/slipway-ci/slipway/tokens"
)

// recorder answers every request alike and keeps what was asked.
type recorder struct {
	mu      sync.Mutex
	asked   []string
	headers []http.Header
	bodies  []string
	answer  func(w http.ResponseWriter, r *http.Request)
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	r.mu.Lock()
	r.asked = append(r.asked, strings.TrimSuffix(req.Method+" "+req.URL.EscapedPath()+"?"+req.URL.RawQuery, "?"))
	r.headers = append(r.headers, req.Header)
	r.bodies = append(r.bodies, string(body))
	r.mu.Unlock()
	r.answer(w, req)
}

func (r *recorder) last() (asked string, header http.Header, body string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := len(r.asked) - 1
	return r.asked[i], r.headers[i], r.bodies[i]
}

func fake(t *testing.T, answer func(http.ResponseWriter, *http.Request), adjust ...func(*client.Config)) (*recorder, *client.Client) {
	t.Helper()
	r := &recorder{answer: answer}
	server := httptest.NewServer(r)
	transport := &http.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
	})
	config := client.Config{URL: server.URL, Token: tokens.New(tokens.API).Reveal(), HTTP: &http.Client{Transport: transport}}
	for _, a := range adjust {
		a(&config)
	}
	c, err := client.New(config)
	require.NoError(t, err)
	return r, c
}

func text(body string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
}

// Every call is one request of the form that the hub knows.
func TestCallsAreRequests(t *testing.T) {
	yes, eight := true, 8
	for _, x := range []struct {
		want, body string
		call       func(context.Context, *client.Client) error
	}{
		{"GET /api/v1/hosts?cursor=c&limit=3&selector=a%3D1&selector=b%3D2", "", func(ctx context.Context, c *client.Client) error {
			_, _, err := c.Hosts(ctx, client.HostFilter{Selector: map[string]string{"b": "2", "a": "1"}, Limit: 3, Cursor: "c"})
			return err
		}},
		{"GET /api/v1/hosts/b%2F1", "", func(ctx context.Context, c *client.Client) error { _, err := c.Host(ctx, "b/1"); return err }},
		{"POST /api/v1/hosts", `{"name":"b","max_runners":8,"isolated":true,"ttl_seconds":60}`, func(ctx context.Context, c *client.Client) error {
			_, err := c.AddHost(ctx, client.HostSpec{Name: "b", MaxRunners: 8, Isolated: true, TTLSeconds: 60})
			return err
		}},
		{"PATCH /api/v1/hosts/b", `{"max_runners":8}`, func(ctx context.Context, c *client.Client) error {
			_, err := c.EditHost(ctx, "b", 0, client.HostEdit{MaxRunners: &eight})
			return err
		}},
		{"PATCH /api/v1/hosts/b", `{"labels":{},"cordoned":true}`, func(ctx context.Context, c *client.Client) error {
			_, err := c.EditHost(ctx, "b", 0, client.HostEdit{Labels: map[string]string{}, Cordoned: &yes})
			return err
		}},
		{"DELETE /api/v1/hosts/b", "", func(ctx context.Context, c *client.Client) error { return c.RemoveHost(ctx, "b", false) }},
		{"DELETE /api/v1/hosts/b?force=true", "", func(ctx context.Context, c *client.Client) error { return c.RemoveHost(ctx, "b", true) }},
		{"POST /api/v1/hosts/b/reenrol", `{"isolated":true}`, func(ctx context.Context, c *client.Client) error {
			_, err := c.ReenrolHost(ctx, "b", client.ReenrolSpec{Isolated: &yes})
			return err
		}},
		{"POST /api/v1/hosts/b/cordon", "", func(ctx context.Context, c *client.Client) error { _, err := c.CordonHost(ctx, "b"); return err }},
		{"POST /api/v1/hosts/b/uncordon", "", func(ctx context.Context, c *client.Client) error { _, err := c.UncordonHost(ctx, "b"); return err }},
		{"POST /api/v1/hosts/b/drain", `{"deadline_seconds":1.5}`, func(ctx context.Context, c *client.Client) error {
			_, err := c.DrainHost(ctx, "b", client.DrainSpec{DeadlineSeconds: 1.5})
			return err
		}},
		{"POST /api/v1/hosts/b/rotate-token", "", func(ctx context.Context, c *client.Client) error { _, err := c.RotateHostToken(ctx, "b"); return err }},
		{"POST /api/v1/hosts/b/revoke", "", func(ctx context.Context, c *client.Client) error { _, err := c.RevokeHost(ctx, "b"); return err }},
		{"POST /api/v1/hosts/b/update", `{"version":"1.2.3"}`, func(ctx context.Context, c *client.Client) error {
			_, err := c.UpdateHost(ctx, "b", client.UpdateSpec{Version: "1.2.3"})
			return err
		}},
		{"POST /api/v1/hosts/update", `{"all":true,"canary":2}`, func(ctx context.Context, c *client.Client) error {
			_, err := c.UpdateHosts(ctx, client.UpdateHostsSpec{All: true, Canary: 2})
			return err
		}},
		{"GET /api/v1/enrolments?cursor=c", "", func(ctx context.Context, c *client.Client) error { _, _, err := c.Enrolments(ctx, 0, "c"); return err }},
		{"DELETE /api/v1/enrolments/e", "", func(ctx context.Context, c *client.Client) error { return c.CancelEnrolment(ctx, "e") }},
		{"GET /api/v1/scale-sets?limit=1", "", func(ctx context.Context, c *client.Client) error {
			_, _, err := c.ScaleSets(ctx, client.ScaleSetFilter{Limit: 1})
			return err
		}},
		{"GET /api/v1/scale-sets/a", "", func(ctx context.Context, c *client.Client) error { _, err := c.ScaleSet(ctx, "a"); return err }},
		{"POST /api/v1/scale-sets", `{"name":"a","labels":["x"],"cpu":2,"memory":"4GiB","max":3}`, func(ctx context.Context, c *client.Client) error {
			_, err := c.CreateScaleSet(ctx, client.NamedScaleSet{Name: "a", ScaleSetSpec: client.ScaleSetSpec{Labels: []string{"x"}, CPU: 2, Memory: "4GiB", Max: 3}})
			return err
		}},
		{"PUT /api/v1/scale-sets/a", `{"labels":["x"],"cpu":2,"memory":5,"max":3,"selector":{"k":"v"}}`, func(ctx context.Context, c *client.Client) error {
			_, err := c.PutScaleSet(ctx, "a", 0, client.ScaleSetSpec{Labels: []string{"x"}, CPU: 2, Memory: 5, Max: 3, Selector: map[string]string{"k": "v"}})
			return err
		}},
		{"DELETE /api/v1/scale-sets/a", "", func(ctx context.Context, c *client.Client) error { return c.DeleteScaleSet(ctx, "a", 0) }},
		{"POST /api/v1/scale-sets/apply?dry_run=true&prune=true", "version: 1", func(ctx context.Context, c *client.Client) error {
			_, err := c.Apply(ctx, []byte("version: 1"), client.ApplyOptions{DryRun: true, Prune: true})
			return err
		}},
		{"GET /api/v1/scale-sets/export", "", func(ctx context.Context, c *client.Client) error { _, err := c.Export(ctx); return err }},
		{"GET /api/v1/scale-sets/a/placement", "", func(ctx context.Context, c *client.Client) error { _, err := c.Placement(ctx, "a"); return err }},
		{"GET /api/v1/credentials", "", func(ctx context.Context, c *client.Client) error { _, err := c.Credentials(ctx); return err }},
		{"PUT /api/v1/credentials/ghcr", `{"registry":"ghcr.io","username":"u","password":"p"}`, func(ctx context.Context, c *client.Client) error {
			_, err := c.SetCredential(ctx, "ghcr", client.CredentialSpec{Registry: "ghcr.io", Username: "u", Password: "p"})
			return err
		}},
		{"DELETE /api/v1/credentials/ghcr", "", func(ctx context.Context, c *client.Client) error { return c.DeleteCredential(ctx, "ghcr") }},
		{"GET /api/v1/runners?cursor=c&host=h&limit=2&scale_set=s&state=running", "", func(ctx context.Context, c *client.Client) error {
			_, _, err := c.Runners(ctx, client.RunnerFilter{Host: "h", ScaleSet: "s", State: "running", Limit: 2, Cursor: "c"})
			return err
		}},
		{"GET /api/v1/runners/r", "", func(ctx context.Context, c *client.Client) error { _, err := c.Runner(ctx, "r"); return err }},
		{"GET /api/v1/runners/r/logs?tail=5", "", func(ctx context.Context, c *client.Client) error { return c.RunnerLogs(ctx, "r", 5, io.Discard) }},
		{"POST /api/v1/runners/r/stop", "", func(ctx context.Context, c *client.Client) error { _, err := c.StopRunner(ctx, "r"); return err }},
		{"GET /api/v1/events?after=7&kind=host&kind=job&limit=2&object=host%2Fb", "", func(ctx context.Context, c *client.Client) error {
			_, _, err := c.Events(ctx, client.EventFilter{Kinds: []string{"host", "job"}, Object: "host/b", After: 7, Limit: 2})
			return err
		}},
		{"GET /api/v1/audit?action=edit-host&object=host%2Fb&outcome=done&since=2026-01-02T03%3A04%3A05Z&token=t", "", func(ctx context.Context, c *client.Client) error {
			_, _, err := c.Audit(ctx, client.AuditFilter{Object: "host/b", Action: "edit-host", TokenID: "t", Outcome: "done", Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)})
			return err
		}},
		{"GET /api/v1/whoami", "", func(ctx context.Context, c *client.Client) error { _, err := c.Whoami(ctx); return err }},
		{"GET /api/v1/hub", "", func(ctx context.Context, c *client.Client) error { _, err := c.Hub(ctx); return err }},
		{"GET /api/v1/jobs/j%2F1/why", "", func(ctx context.Context, c *client.Client) error { _, err := c.Waiting(ctx, "j/1"); return err }},
	} {
		t.Run(x.want, func(t *testing.T) {
			r, c := fake(t, text(`{}`))
			require.NoError(t, x.call(t.Context(), c))
			asked, header, body := r.last()
			require.Equal(t, x.want, asked)
			require.Equal(t, x.body, body)
			require.Empty(t, header.Get("If-Match"), "without a version any is meant")
			require.True(t, strings.HasPrefix(header.Get("Authorization"), "Bearer sf_api_"))

			r.answer = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }
			require.NoError(t, x.call(t.Context(), c), "an answer without a body is one")
		})
	}
}

func TestNamesStayInTheirPlace(t *testing.T) {
	r, c := fake(t, text(`{}`))
	for _, name := range []string{"", ".", ".."} {
		_, err := c.Host(t.Context(), name)
		require.ErrorIs(t, err, client.ErrUsage)
		require.ErrorIs(t, c.RemoveHost(t.Context(), name, true), client.ErrUsage)
		require.ErrorIs(t, c.DeleteScaleSet(t.Context(), name, 1), client.ErrUsage)
		require.ErrorIs(t, c.RunnerLogs(t.Context(), name, 0, io.Discard), client.ErrUsage)
	}
	require.Empty(t, r.asked, "a name must not lead to another route")
}

// A lost update is told: the version that was read goes with the edit.
func TestEditsNameTheVersion(t *testing.T) {
	r, c := fake(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-Match") != `"5"` {
			w.Header().Set("X-Request-Id", "req-1")
			w.WriteHeader(http.StatusPreconditionFailed)
			_, _ = io.WriteString(w, `{"type":"urn:slipway:problem:stale","title":"Precondition Failed","status":412,"detail":"its version is 5"}`)
			return
		}
		_, _ = io.WriteString(w, `{"version":6}`)
	})
	ctx := t.Context()
	for version, want := range map[int64]error{4: client.ErrStale, 5: nil} {
		_, err := c.EditHost(ctx, "b", version, client.HostEdit{})
		require.ErrorIs(t, err, want)
		_, err = c.PutScaleSet(ctx, "a", version, client.ScaleSetSpec{})
		require.ErrorIs(t, err, want)
		require.ErrorIs(t, c.DeleteScaleSet(ctx, "a", version), want)
		_, err = c.Apply(ctx, nil, client.ApplyOptions{Revision: version})
		require.ErrorIs(t, err, want)
	}
	_, header, _ := r.last()
	require.NotEmpty(t, header.Get("If-Match"))
	_, err := c.EditHost(ctx, "b", 4, client.HostEdit{})
	var problem *client.Error
	require.ErrorAs(t, err, &problem)
	require.Equal(t, "req-1", problem.RequestID)
	require.Equal(t, "its version is 5", err.Error())
}

func TestKindsOfErrors(t *testing.T) {
	for _, x := range []struct {
		status int
		code   string
		is     error
	}{
		{400, "invalid", client.ErrInvalid}, {422, "invalid", client.ErrInvalid}, {401, "unauthorized", client.ErrUnauthorized},
		{403, "forbidden", client.ErrForbidden}, {404, "not-found", client.ErrNotFound}, {404, "not-configured", client.ErrNotConfigured},
		{409, "host-busy", client.ErrConflict}, {412, "stale", client.ErrStale}, {507, "storage-full", client.ErrStorageFull},
		{413, "too-large", client.ErrInvalid}, {500, "internal", nil},
	} {
		_, c := fake(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Request-Id", "req-1")
			w.WriteHeader(x.status)
			_, _ = fmt.Fprintf(w, `{"type":"urn:slipway:problem:%s","detail":"why","errors":[{"location":"body.x","message":"is bad"}]}`, x.code)
		})
		_, err := c.Host(t.Context(), "b")
		for _, kind := range []error{client.ErrInvalid, client.ErrUnauthorized, client.ErrForbidden, client.ErrNotFound, client.ErrNotConfigured,
			client.ErrConflict, client.ErrStale, client.ErrStorageFull, client.ErrUnreachable} {
			require.Equal(t, kind == x.is, errors.Is(err, kind), "%d %s is %v", x.status, x.code, kind)
		}
		want := "why; body.x: is bad"
		if x.status == 500 {
			want += " (request req-1)" // whoever keeps the hub's log can find it
		}
		require.EqualError(t, err, want)
	}
}

func TestListsAndTexts(t *testing.T) {
	_, c := fake(t, text(`{"items":[{"name":"a","labels":{"k":"v"},"gpus":[{"id":"0","name":"A100"}],"drain_deadline":null}],"next":"n"}`))
	hosts, next, err := c.Hosts(t.Context(), client.HostFilter{})
	require.NoError(t, err)
	require.Equal(t, "n", next)
	require.Equal(t, []client.Host{{Name: "a", Labels: map[string]string{"k": "v"}, GPUs: []client.GPU{{ID: "0", Name: "A100"}}}}, hosts)

	_, c = fake(t, text(`{"items":[{"id":3}],"next":"12"}`))
	events, after, err := c.Events(t.Context(), client.EventFilter{After: 1})
	require.NoError(t, err)
	require.Equal(t, int64(12), after)
	require.Len(t, events, 1)

	_, c = fake(t, text("version: 1\n"))
	exported, err := c.Export(t.Context())
	require.NoError(t, err)
	require.Equal(t, "version: 1\n", string(exported))

	r, c := fake(t, text("hello\n"))
	var log bytes.Buffer
	require.NoError(t, c.RunnerLogs(t.Context(), "r", 0, &log))
	require.Equal(t, "hello\n", log.String())
	asked, _, _ := r.last()
	require.Equal(t, "GET /api/v1/runners/r/logs", asked)
	broken := errors.New("broken pipe")
	require.ErrorIs(t, c.RunnerLogs(t.Context(), "r", 0, failing{broken}), broken)

	_, c = fake(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "hel")
	})
	require.ErrorIs(t, c.RunnerLogs(t.Context(), "r", 0, &log), client.ErrUnreachable, "half a log is not a log")
	_, err = c.Export(t.Context())
	require.ErrorIs(t, err, client.ErrUnreachable, "half an export is none")
}

// What one side writes the other reads: the documents have no field that is lost.
func TestDocumentsSurviveJSON(t *testing.T) {
	no := false
	spec := client.ScaleSetSpec{
		Labels: []string{"a"}, Image: "i", CPU: 1.5, Memory: "4GiB", Max: 2, MinIdle: 1, Hosts: []string{"h"}, Selector: map[string]string{"k": "v"},
		PerHostMax: 1, Runtime: client.RuntimeIsolated, Credential: "c", ControlPlane: "queue", MinDiskFree: "1GiB", GPUs: "all",
		Env: map[string]any{"A": true}, Mounts: []client.Mount{{Volume: "v", Target: "/t", ReadOnly: true}}, NoNewPrivileges: &no, MaxLifetime: "2h",
	}
	text, err := json.Marshal(client.ScaleSet{NamedScaleSet: client.NamedScaleSet{Name: "n", ScaleSetSpec: spec}, Version: 3})
	require.NoError(t, err)
	var back client.ScaleSet
	require.NoError(t, json.Unmarshal(text, &back))
	require.Equal(t, spec, back.ScaleSetSpec)
	require.Equal(t, "n", back.Name)
	require.Equal(t, int64(3), back.Version)
}
