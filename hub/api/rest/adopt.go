package rest

import (
	"net/http"
	"time"

	"github.com/slipway-ci/slipway/hub/api/problem"
	"github.com/slipway-ci/slipway/hub/edge"
)

// Adopt puts a route of another handler, such as that of agents, under the rules of
// this API: its requests have an id, its errors are problems with it, and its 401
// count as failed attempts, 429 beyond the limit. What succeeds is never refused,
// and goes through as it comes.
func (s *Server) Adopt(next http.Handler) http.Handler {
	return named(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		problem.Serve(next, w, r, func(status int) bool {
			if status != http.StatusUnauthorized {
				return false
			}
			wait := s.failures.Add(s.ClientIP(r), time.Now())
			if wait > 0 {
				edge.TooManyFailures(w, r, wait)
			}
			return wait > 0
		})
	}))
}
