package runnerapi_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-ci/slipway/hub/edge"
	"github.com/slipway-ci/slipway/hub/logs"
	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/runnerapi"
	"github.com/slipway-ci/slipway/hub/storage"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/hub/store/storetest"
	"github.com/slipway-ci/slipway/tokens"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hub is the routes with what is behind them, and one leased job.
type hub struct {
	t       *testing.T
	queue   *queue.Queue
	logs    *logs.Store
	handler http.Handler
	job     queue.Job
	lease   string
}

func newHub(t *testing.T, adjust ...func(*runnerapi.Config)) *hub {
	t.Helper()
	h := &hub{t: t}
	dir := storetest.Dir(t)
	db, err := store.Open(t.Context(), store.Config{Dir: dir})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	h.queue, err = queue.New(t.Context(), queue.Config{Store: db})
	require.NoError(t, err)
	h.logs, err = logs.New(logs.Config{Dir: dir + "/logs"})
	require.NoError(t, err)
	cfg := runnerapi.Config{Queue: h.queue, Logs: h.logs}
	for _, a := range adjust {
		a(&cfg)
	}
	h.handler, err = runnerapi.New(cfg)
	require.NoError(t, err)
	h.job, err = h.queue.Submit(t.Context(), queue.JobSpec{
		Name: "unit tests", Labels: []string{"a"}, Command: []string{"make", "test"}, Env: map[string]string{"KEY": "value"}, Timeout: time.Minute,
	})
	require.NoError(t, err)
	_, secret, err := h.queue.CreateToken(t.Context(), queue.TokenSpec{Kind: tokens.ManualRegistration})
	require.NoError(t, err)
	session, err := h.queue.Register(t.Context(), secret.Reveal(), []string{"a"})
	require.NoError(t, err)
	claim, found, err := h.queue.Claim(t.Context(), session.Token, false)
	require.NoError(t, err)
	require.True(t, found)
	h.lease = claim.LeaseToken
	return h
}

func (h *hub) do(method, path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/api/v1/runner/"+path, strings.NewReader(body))
	if h.lease != "" {
		r.Header.Set("Authorization", "Bearer "+h.lease)
	}
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, r)
	return w
}

// refused asserts an error and returns its details' offset.
func (h *hub) refused(status int, code string, w *httptest.ResponseRecorder) float64 {
	h.t.Helper()
	var body struct {
		Code, Message string
		Details       struct{ Offset float64 }
	}
	require.Equal(h.t, status, w.Code, "%s", w.Body)
	require.NoError(h.t, json.Unmarshal(w.Body.Bytes(), &body))
	require.Equal(h.t, code, body.Code)
	require.NotEmpty(h.t, body.Message)
	return body.Details.Offset
}

func (h *hub) ok(want string, w *httptest.ResponseRecorder) {
	h.t.Helper()
	require.Equal(h.t, 200, w.Code, "%s", w.Body)
	require.JSONEq(h.t, want, w.Body.String())
}

const (
	jobGone  = `{"outcome": "succeeded", "exit_code": 0, "reason": "", "log_bytes": 5}`
	accepted = `{"accepted": true}`
)

func TestHelloAndJob(t *testing.T) {
	h := newHub(t)
	h.ok(fmt.Sprintf(`{"job_id": %q, "attempt": 1, "name": "unit tests", "command": ["make", "test"], "env": {"KEY": "value"},
		"timeout_seconds": 60, "renew_seconds": 10, "lease_ttl_seconds": 90, "log_limit_bytes": 16777216}`, h.job.ID), h.do("GET", "job", ""))
	h.lease = ""
	h.ok(`{"product": "slipway", "protocol": 1}`, h.do("GET", "hello", ""))
	h.refused(404, "not-found", h.do("GET", "nothing", ""))
	h.refused(404, "not-found", h.do("POST", "hello", ""))
}

func TestOnlyLeasesAreLetIn(t *testing.T) {
	h := newHub(t)
	for _, token := range []string{"", "nonsense", tokens.New(tokens.Admin).Reveal(), h.lease + "x"} {
		h.lease = token
		h.refused(401, "unauthorized", h.do("GET", "job", ""))
		h.refused(401, "unauthorized", h.do("POST", "log?offset=0", "x"))
		h.refused(401, "unauthorized", h.do("POST", "result", jobGone))
	}
}

func TestLog(t *testing.T) {
	h := newHub(t)
	sub := h.queue.Subscribe(queue.TopicJob(h.job.ID))
	defer sub.Close()
	h.ok(`{"offset": 5}`, h.do("POST", "log?offset=0", "hello"))
	select {
	case <-sub.C:
	case <-time.After(30 * time.Second):
		t.Fatal("who follows the log must be woken")
	}
	h.ok(`{"offset": 5}`, h.do("POST", "log?offset=0", "hello"))
	h.ok(`{"offset": 11}`, h.do("POST", "log?offset=3", "lo\x00\xff   !"))
	require.InDelta(t, 11, h.refused(409, "log-gap", h.do("POST", "log?offset=12", "x")), 0)
	h.ok(`{"offset": 11}`, h.do("POST", "log?offset=11", ""))
	h.refused(400, "validation-error", h.do("POST", "log?offset=-1", "x"))
	h.refused(400, "validation-error", h.do("POST", "log", "x"))
	h.refused(413, "body-too-large", h.do("POST", "log?offset=11", strings.Repeat("x", 256<<10+1)))
	h.ok(fmt.Sprintf(`{"offset": %d}`, 11+256<<10), h.do("POST", "log?offset=11", strings.Repeat("x", 256<<10)))
}

func TestResult(t *testing.T) {
	h := newHub(t)
	for body, code := range map[string]string{
		``:                                       "empty-json-body",
		`{`:                                      "invalid-json-body",
		`{"outcome": "odd"}`:                     "validation-error",
		`{"outcome": "failed", "more": 1}`:       "validation-error",
		`{"outcome": "failed", "log_bytes": -1}`: "validation-error",
		`{"outcome": "failed", "exit_code": "1"}`:                             "validation-error",
		`{"outcome": "failed"}{}`:                                             "validation-error",
		`{"outcome": "failed", "reason": "` + strings.Repeat("é", 501) + `"}`: "validation-error",
	} {
		h.refused(400, code, h.do("POST", "result", body))
	}
	h.ok(accepted, h.do("POST", "result", jobGone))
	h.ok(accepted, h.do("POST", "result", jobGone))
	h.ok(accepted, h.do("POST", "result", `{"outcome": "failed", "exit_code": 1, "reason": "", "log_bytes": 0}`))
	job, err := h.queue.Job(t.Context(), h.job.ID)
	require.NoError(t, err)
	require.Equal(t, queue.StateSucceeded, job.State, "the first result counts")
	require.Equal(t, int64(5), job.LogBytes)

	h.refused(409, "lease-ended", h.do("POST", "log?offset=0", "late"))
	h.refused(409, "lease-ended", h.do("GET", "job", ""))
	length, err := h.logs.Length(logs.Key{Job: h.job.ID, Attempt: 1})
	require.NoError(t, err)
	require.Zero(t, length, "what comes with an ended lease is not stored")
}

func TestFullDiskDropsLogsAndTakesResults(t *testing.T) {
	guard, err := storage.NewGuard(storage.GuardConfig{Dir: t.TempDir(), MinFree: 1 << 62, Reserve: 1 << 62})
	require.NoError(t, err)
	h := newHub(t, func(c *runnerapi.Config) { c.Guard = guard })
	require.InDelta(t, 5, h.refused(507, "storage-full", h.do("POST", "log?offset=0", "hello")), 0)
	require.InDelta(t, 9, h.refused(507, "storage-full", h.do("POST", "log?offset=5", "more")), 0)
	require.InDelta(t, 9, h.refused(409, "log-gap", h.do("POST", "log?offset=10", "more")), 0)
	c, err := h.logs.Read(logs.Key{Job: h.job.ID, Attempt: 1}, 0, 100)
	require.NoError(t, err)
	require.Equal(t, int64(9), c.Missing)
	require.True(t, c.Full)
	h.ok(accepted, h.do("POST", "result", jobGone))
}

func TestErrorsOfTheDatabaseStayInside(t *testing.T) {
	h := newHub(t)
	require.NoError(t, h.queue.Store().Close())
	w := h.do("POST", "result", jobGone)
	h.refused(500, "server-error", w)
	body, err := io.ReadAll(w.Body)
	require.NoError(t, err)
	require.NotContains(t, string(body), "store")
}

// The hub's edge names every request, and a refusal says that name: it is in the log.
func TestARefusalNamesItsRequest(t *testing.T) {
	h := newHub(t)
	r := httptest.NewRequest("GET", runnerapi.Prefix+"job", nil)
	w := httptest.NewRecorder()
	edge.New(edge.Config{}, h.handler).ServeHTTP(w, r)
	require.Equal(t, http.StatusUnauthorized, w.Code)
	require.NotEmpty(t, w.Header().Get(edge.HeaderRequestID))
	require.JSONEq(t, `{"code":"unauthorized","message":"a lease token is needed","request_id":"`+w.Header().Get(edge.HeaderRequestID)+`"}`, w.Body.String())
}
