package api_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/api"
)

// adopted asks a handler of others that is under the rules of this API.
func adopted(h *hub, next http.HandlerFunc) func(credential string) answer {
	handler := h.handler.Adopt(next)
	return func(credential string) answer {
		r := httptest.NewRequest(http.MethodPost, "/api/v1/agent/connect", nil)
		r.Header.Set("Authorization", credential)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return answer{w.Code, w.Header(), w.Body.String()}
	}
}

// A handler of agents is under the same limit: what fails too often is told so, and
// what is good is never refused for rate.
func TestFailuresOfOtherHandlersCount(t *testing.T) {
	h := newHub(t, func(c *api.Config) { c.Failures = 3 })
	ask := adopted(h, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "good" {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "unauthorized", http.StatusUnauthorized)
			return
		}
		_, _ = w.Write([]byte("welcome"))
	})
	for range 3 {
		a := ask("bad")
		require.Equal(t, "unauthorized", h.problem(http.StatusUnauthorized, "unauthorized", a).Detail)
		require.Equal(t, "Bearer", a.header.Get("WWW-Authenticate"))
	}
	a := ask("bad")
	h.problem(http.StatusTooManyRequests, "too-many-failures", a)
	require.NotEmpty(t, a.header.Get("Retry-After"))
	require.Empty(t, a.header.Get("WWW-Authenticate"))
	a = ask("good")
	require.Equal(t, http.StatusOK, a.status)
	require.Equal(t, "welcome", a.body)
}

// Whatever another handler says is wrong comes as a problem with the request's id.
func TestErrorsOfOtherHandlersAreProblems(t *testing.T) {
	h := newHub(t)
	for name, c := range map[string]struct {
		answer       http.HandlerFunc
		status       int
		code, detail string
	}{
		"a text": {func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "not serving", http.StatusServiceUnavailable)
		}, 503, "unavailable", "not serving"},
		"nothing": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(400) }, 400, "invalid", "Bad Request"},
		"a problem": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(409)
			_ = json.NewEncoder(w).Encode(map[string]any{"type": "urn:slipway:problem:enrolment-spent", "title": "Conflict", "status": 409, "detail": "it was used"})
		}, 409, "enrolment-spent", "it was used"},
	} {
		t.Run(name, func(t *testing.T) {
			a := adopted(h, c.answer)("")
			p := h.problem(c.status, c.code, a)
			require.Equal(t, c.detail, p.Detail)
			require.NotEmpty(t, p.RequestID)
			require.Equal(t, p.RequestID, a.header.Get("X-Request-Id"))
		})
	}
}
