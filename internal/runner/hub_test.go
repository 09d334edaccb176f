package runner

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
)

// fakeHub answers as the wire documents say. One job, one runner. on, when it
// is set, sees each request first and returns true to have answered it itself;
// lose says whose answer is lost on the way.
type fakeHub struct {
	t    *testing.T
	url  string
	on   func(w http.ResponseWriter, r *http.Request) bool
	lose func(r *http.Request) bool

	mu      sync.Mutex
	job     map[string]any
	paths   []string
	lease   int // the one that counts now
	cancel  bool
	claimed bool
	log     []byte
	results []result
	counts  map[string]int
	bodies  map[string]string
	server  *httptest.Server
	started sync.Once
}

func newHub(t *testing.T, job map[string]any) *fakeHub {
	h := &fakeHub{t: t, job: map[string]any{
		"job_id": "4b2e-job", "attempt": 1, "name": "test", "env": map[string]string{}, "timeout_seconds": 60,
		"renew_seconds": 0.1, "lease_ttl_seconds": 30, "log_limit_bytes": 16 << 20,
	}, counts: map[string]int{}, bodies: map[string]string{}}
	for key, value := range job {
		h.job[key] = value
	}
	h.server = httptest.NewUnstartedServer(h)
	h.url = "http://" + h.server.Listener.Addr().String() + "/some/prefix"
	t.Cleanup(h.server.Close)
	return h
}

// start comes after on and lose were set.
func (h *fakeHub) start() { h.started.Do(h.server.Start) }

// discard is for answers that are lost on the way.
type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}

func (h *fakeHub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, ok := strings.CutPrefix(r.URL.Path, "/some/prefix/")
	assert.True(h.t, ok, "%s is outside of the base URL", r.URL.Path)
	r.URL.Path = path
	assert.Contains(h.t, r.UserAgent(), "slipway-runner/", "the hub knows its own runners by it, from the claim on")
	if r.Header.Get("Content-Type") == "application/json" {
		assert.NotZero(h.t, r.ContentLength, "an empty body with a JSON content type is a 400 at the real server")
	}
	h.mu.Lock()
	h.paths = append(h.paths, path)
	h.counts[path]++
	h.mu.Unlock()
	if h.on != nil && h.on(w, r) {
		return
	}
	if h.lose != nil && h.lose(r) {
		h.answer(discard{}, r)
		panic(http.ErrAbortHandler)
	}
	h.answer(w, r)
}

func (h *fakeHub) answer(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	h.bodies[r.URL.Path] = string(body)
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch path := r.URL.Path; path {
	case "api/v1/runner/hello":
		assert.Empty(h.t, token, "hello must not carry a credential")
		reply(w, 200, map[string]any{"product": "slipway", "protocol": 1, "more": true})
	case "runner-enrollment/exchange":
		reply(w, 200, map[string]any{"runner_instance_id": "i", "control_session_token": "control", "expires_at": "later"})
	case "runner-control/enrollment":
		assert.Equal(h.t, "control", token)
		reply(w, 200, map[string]any{"activation_token": nil})
	case "runner-control/assignment":
		assert.Equal(h.t, "control", token)
		if h.counts[path] < 3 {
			reply(w, 200, map[string]any{"activation_token": nil})
			return
		}
		reply(w, 200, map[string]any{"activation_token": "activation"})
	case "runners/register":
		h.bodies["registered with"] = token
		reply(w, 200, map[string]any{"session_token": "session", "session_id": "s", "mode": "ephemeral", "max_claims": 1})
	case "runners/jobs/request":
		assert.Equal(h.t, "session", token)
		if h.claimed {
			refuse(w, 409, "runner-session-exhausted", nil)
			return
		}
		h.claimed = true
		reply(w, 200, map[string]any{"job_id": h.job["job_id"], "lease_token": "lease-0"})
	case "runners/jobs/4b2e-job/heartbeat":
		if h.leased(w, token) {
			h.lease++
			reply(w, 200, map[string]any{"cancel": h.cancel, "lease_token": "lease-" + strconv.Itoa(h.lease)})
		}
	case "api/v1/runner/job":
		if h.leased(w, token) {
			reply(w, 200, h.job)
		}
	case "api/v1/runner/log":
		assert.LessOrEqual(h.t, len(body), 256<<10)
		if h.leased(w, token) {
			h.store(w, r.URL.Query().Get("offset"), body)
		}
	case "api/v1/runner/result":
		if h.leased(w, token) {
			var res result
			assert.NoError(h.t, json.Unmarshal(body, &res))
			h.results = append(h.results, res)
			reply(w, 200, map[string]any{"accepted": true})
		}
	default:
		refuse(w, 404, "not-found", nil)
	}
}

// leased refuses leases that were replaced long ago: the newest few count, since
// requests overtake one another.
func (h *fakeHub) leased(w http.ResponseWriter, token string) bool {
	n, err := strconv.Atoi(strings.TrimPrefix(token, "lease-"))
	if err != nil || n < h.lease-5 {
		refuse(w, 401, "unauthorized", nil)
		return false
	}
	return true
}

func (h *fakeHub) store(w http.ResponseWriter, at string, body []byte) {
	offset, _ := strconv.Atoi(at)
	if offset > len(h.log) {
		refuse(w, 409, "log-gap", map[string]any{"offset": len(h.log)})
		return
	}
	if skip := len(h.log) - offset; skip < len(body) {
		h.log = append(h.log, body[skip:]...)
	}
	reply(w, 200, map[string]any{"offset": len(h.log)})
}

func (h *fakeHub) count(path string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.counts[path]
}

func (h *fakeHub) logged() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return string(h.log)
}

func (h *fakeHub) set(change func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change()
}

// result is the one that counts.
func (h *fakeHub) result() result {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !assert.NotEmpty(h.t, h.results, "no result was reported") {
		return result{}
	}
	return h.results[0]
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func refuse(w http.ResponseWriter, status int, code string, details map[string]any) {
	reply(w, status, map[string]any{"code": code, "message": "refused", "details": details})
}
