package shipfox

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/slipway-ci/slipway/provisioner"
)

// ErrTooManyTemplates: this generation takes fewer templates than there are, or not so
// many in one poll with all their labels.
var ErrTooManyTemplates = errors.New("shipfox: too many templates for this generation of the API")

// ErrNotAsked: a question was not put, because the answer could do harm.
var ErrNotAsked = errors.New("shipfox: not asked")

// APIError is an answer of the service that is not a 2xx, in its own words.
type APIError struct {
	// Route is the method and path; an id in it is told as {its name}.
	Route string
	// Status is the HTTP status.
	Status int
	// Code and Message are the service's; Code may be empty for a proxy's answer.
	Code, Message string
	// RetryAfter is how long the service wants to be left alone, in whole seconds and
	// at most 10 min; 0: it does not say.
	RetryAfter time.Duration

	details json.RawMessage
}

// Error is the route, the status and the service's words.
func (e *APIError) Error() string {
	text := fmt.Sprintf("shipfox: %s: %d", e.Route, e.Status)
	if e.Code != "" {
		text += " " + e.Code
	}
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// Unwrap makes a refused credential provisioner.ErrUnauthorized.
func (e *APIError) Unwrap() error {
	if e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden {
		return provisioner.ErrUnauthorized
	}
	return nil
}

// definite says whether the service has decided: a 4xx that is not about its load.
// What is no answer, nil, is none of this and the next two.
func (e *APIError) definite() bool {
	return e != nil && e.Status >= 400 && e.Status < 500 && e.Status != http.StatusTooManyRequests && e.Status != http.StatusRequestTimeout
}

// redirects says whether the answer points elsewhere: nothing was asked there.
func (e *APIError) redirects() bool { return e != nil && e.Status >= 300 && e.Status < 400 }

// untaken says whether the service refused to look at the request for now: then it
// did nothing. A 503 of which it does not say when it ends may be anything's.
func (e *APIError) untaken() bool {
	return e != nil && (e.Status == http.StatusTooManyRequests || e.Status == http.StatusServiceUnavailable && e.RetryAfter > 0)
}

func asAPI(err error) *APIError {
	var e *APIError
	if errors.As(err, &e) {
		return e
	}
	return nil
}

// hasStatus says whether err is an answer with one of these statuses.
func hasStatus(err error, statuses ...int) bool {
	e := asAPI(err)
	for _, s := range statuses {
		if e != nil && e.Status == s {
			return true
		}
	}
	return false
}

// noRoute says whether the service does not know the route itself.
func noRoute(err error) bool {
	e := asAPI(err)
	return e != nil && e.Status == http.StatusNotFound && e.Code == "not-found"
}

// maxRest bounds what is obeyed of a Retry-After: one that is wrong must not stop a
// provisioner until somebody looks.
const maxRest = 10 * time.Minute

// retryAfter reads the header (RFC 9110, section 10.2.3), or the body's details,
// which the service sends beside it. A date is taken against the answer's own. What
// is neither a number above 0 nor such a date is none.
func retryAfter(h http.Header, details json.RawMessage) time.Duration {
	text := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 64); seconds > 0 && (err == nil || errors.Is(err, strconv.ErrRange)) {
		return bounded(float64(seconds))
	}
	until, err := http.ParseTime(text)
	if date, unknown := http.ParseTime(h.Get("Date")); err == nil && unknown == nil && until.After(date) {
		return bounded(until.Sub(date).Seconds())
	}
	var d struct {
		Seconds float64 `json:"retry_after_seconds"`
	}
	_ = json.Unmarshal(details, &d)
	return bounded(d.Seconds)
}

func bounded(seconds float64) time.Duration {
	return time.Duration(math.Ceil(min(max(seconds, 0), maxRest.Seconds()))) * time.Second
}
