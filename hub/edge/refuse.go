package edge

import (
	"net/http"
	"time"

	"github.com/slipway-ci/slipway/hub/api/problem"
)

// TooManyFailures answers a failed attempt to authenticate from an address that had
// too many of them. The body is a problem document, and has the members that the
// Shipfox API's errors have: both kinds of clients read it.
func TooManyFailures(w http.ResponseWriter, r *http.Request, wait time.Duration) {
	seconds := int(wait/time.Second) + 1
	w.Header().Del("WWW-Authenticate")
	problem.RetryAfter(w, seconds)
	p := problem.New(http.StatusTooManyRequests, "too-many-failures", "too many failed attempts from this address")
	p.WriteIn(w, r, struct {
		*problem.Problem
		Code    string         `json:"code"`
		Details map[string]int `json:"details"`
	}{p, "rate-limited", map[string]int{"retry_after_seconds": seconds}})
}
