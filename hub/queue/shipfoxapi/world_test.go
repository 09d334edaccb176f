package shipfoxapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/queue/shipfoxapi"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/hub/store/storetest"
	"github.com/slipway-ci/slipway/tokens"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// world is a queue behind its API. Requests go to the handler without a socket,
// so that it works in a synctest bubble.
type world struct {
	t           testing.TB
	queue       *queue.Queue
	handler     http.Handler
	provisioner string // tokens
	manual      string
}

func newWorld(t testing.TB, g queue.Generation) *world {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{Dir: storetest.Dir(t)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	q, err := queue.New(t.Context(), queue.Config{Store: s})
	require.NoError(t, err)
	api, err := shipfoxapi.New(shipfoxapi.Config{Queue: q})
	require.NoError(t, err)
	w := &world{t: t, queue: q, handler: api.Handler()}
	w.provisioner = w.token(tokens.Provisioner, g)
	w.manual = w.token(tokens.ManualRegistration, "")
	return w
}

func (w *world) token(kind tokens.Kind, g queue.Generation) string {
	w.t.Helper()
	_, secret, err := w.queue.CreateToken(w.t.Context(), queue.TokenSpec{Kind: kind, Generation: g})
	require.NoError(w.t, err)
	return secret.Reveal()
}

func (w *world) submit(n int, labels ...string) {
	w.t.Helper()
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range errs { // at once: they share their commits
		wg.Go(func() { _, errs[i] = w.queue.Submit(w.t.Context(), queue.JobSpec{Labels: labels, Run: "true"}) })
	}
	wg.Wait()
	require.NoError(w.t, errors.Join(errs...))
}

// request is one request; auth is the whole header.
type request struct {
	method, path, auth, body string
	header                   http.Header
	contentType              string // "-" for none
}

func (w *world) do(r request) *httptest.ResponseRecorder {
	w.t.Helper()
	return w.doIn(w.t.Context(), r)
}

func (w *world) doIn(ctx context.Context, r request) *httptest.ResponseRecorder {
	var body io.Reader
	if r.method != http.MethodGet {
		body = strings.NewReader(r.body)
	}
	req := httptest.NewRequestWithContext(ctx, r.method, r.path, body)
	for name, values := range r.header {
		req.Header[name] = values
	}
	switch r.contentType {
	case "-":
	case "":
		if r.method != http.MethodGet {
			req.Header.Set("Content-Type", "application/json")
		}
	default:
		req.Header.Set("Content-Type", r.contentType)
	}
	if r.auth != "" {
		req.Header.Set("Authorization", r.auth)
	}
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, req)
	return rec
}

// post sends JSON with a bearer token and returns the answer's fields.
func (w *world) post(path, token, body string) (int, map[string]any) {
	w.t.Helper()
	rec := w.do(request{method: http.MethodPost, path: path, auth: "Bearer " + token, body: body})
	var out map[string]any
	if rec.Body.Len() > 0 {
		require.NoError(w.t, json.Unmarshal(rec.Body.Bytes(), &out))
	}
	return rec.Code, out
}

var (
	varying = []struct {
		pattern *regexp.Regexp
		word    string
	}{
		{regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`), "<id>"},
		{regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`), "<time>"},
		{regexp.MustCompile(`^(jwt-[0-9a-f]+|ey[\w-]+\.[\w-]+\.[\w-]+)$`), "<jwt>"},
		{regexp.MustCompile(`^sf_(pt|mrt|ert|rbt|rcs|rat)_[\w-]{43}$`), "<$1>"},
		{regexp.MustCompile(`^probe-\d+$`), "<provider id>"},
	}
)

// plain replaces what differs from run to run: ids, times, tokens, and the
// seconds to wait.
func plain(v any) any {
	switch v := v.(type) {
	case string:
		for _, p := range varying {
			if p.pattern.MatchString(v) {
				return p.pattern.ReplaceAllString(v, p.word)
			}
		}
		return v
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = plain(v[i])
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, value := range v {
			out[key] = plain(value)
			if key == "retry_after_seconds" {
				out[key] = "<seconds>"
			}
		}
		return out
	}
	return v
}

func decode(t testing.TB, text []byte) any {
	t.Helper()
	if len(bytes.TrimSpace(text)) == 0 {
		return nil
	}
	var v any
	require.NoError(t, json.Unmarshal(text, &v), "%s", text)
	return v
}
