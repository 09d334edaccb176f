package api

import (
	"bufio"
	"net"
	"net/http"
	"time"
)

// CountFailures puts a route of another handler, such as that of agents, under this
// API's limit of failed attempts: a 401 beyond it becomes a 429. What succeeds is
// never refused, and is not looked at.
func (s *Server) CountFailures(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(&attempt{ResponseWriter: w, refuse: func() bool {
			wait := s.failures.add(network(s.ClientIP(r)), time.Now())
			if wait > 0 {
				w.Header().Del("WWW-Authenticate")
				retryAfter(w, int(wait/time.Second)+1)
				writeProblem(w, r, tooManyFailures())
			}
			return wait > 0
		}}, r)
	})
}

// attempt is an answer whose status decides whether it failed.
type attempt struct {
	http.ResponseWriter
	refuse  func() bool // answers in its own words, and says so
	refused bool
}

// WriteHeader is http.ResponseWriter's.
func (a *attempt) WriteHeader(status int) {
	if status == http.StatusUnauthorized && !a.refused {
		a.refused = a.refuse()
	}
	if !a.refused {
		a.ResponseWriter.WriteHeader(status)
	}
}

// Write is http.ResponseWriter's.
func (a *attempt) Write(p []byte) (int, error) {
	if a.refused {
		return len(p), nil
	}
	return a.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (a *attempt) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// Hijack is http.Hijacker's, for WebSockets.
func (a *attempt) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(a.ResponseWriter).Hijack()
}
