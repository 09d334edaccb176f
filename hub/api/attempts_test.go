package api_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/api"
)

// A handler of agents is under the same limit: what fails too often is told so, and
// what is good is never refused for rate.
func TestFailuresOfOtherHandlersCount(t *testing.T) {
	h := newHub(t, func(c *api.Config) { c.Failures = 3 })
	guarded := h.handler.CountFailures(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "good" {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "unauthorized", http.StatusUnauthorized)
			return
		}
		_, _ = w.Write([]byte("welcome"))
	}))
	ask := func(credential string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, "/api/v1/agent/connect", nil)
		r.Header.Set("Authorization", credential)
		w := httptest.NewRecorder()
		guarded.ServeHTTP(w, r)
		return w
	}
	for range 3 {
		w := ask("bad")
		require.Equal(t, http.StatusUnauthorized, w.Code)
		require.Equal(t, "unauthorized\n", w.Body.String())
	}
	w := ask("bad")
	require.Equal(t, http.StatusTooManyRequests, w.Code)
	require.NotEmpty(t, w.Header().Get("Retry-After"))
	require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
	require.Contains(t, w.Body.String(), "too-many-failures")
	require.NotContains(t, w.Body.String(), "unauthorized\n")
	w = ask("good")
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "welcome", w.Body.String())
}
