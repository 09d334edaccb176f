package shipfox

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/slipway-ci/slipway/provisioner"
)

// ErrTooManyTemplates: this generation takes fewer templates than there are.
var ErrTooManyTemplates = errors.New("shipfox: too many templates for this generation of the API")

// ErrNotAsked: a question was not put, because the answer could do harm.
var ErrNotAsked = errors.New("shipfox: not asked")

// APIError is an answer of the service that is not a 2xx, in its own words.
type APIError struct {
	// Route is the method and path.
	Route string
	// Status is the HTTP status.
	Status int
	// Code and Message are the service's; Code may be empty for a proxy's answer.
	Code, Message string
	// RetryAfter is how long the service wants to be left alone; 0: it does not say.
	RetryAfter time.Duration

	details json.RawMessage
}

// Error is the route, the status and the service's words.
func (e *APIError) Error() string {
	text := fmt.Sprintf("shipfox: %s: %d %s", e.Route, e.Status, e.Code)
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
func (e *APIError) definite() bool {
	return e.Status >= 400 && e.Status < 500 && e.Status != http.StatusTooManyRequests && e.Status != http.StatusRequestTimeout
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

// retryAfter reads the header (RFC 9110, section 10.2.3), or the body's details,
// which the service sends beside it. A date is taken against the answer's own.
func retryAfter(h http.Header, details json.RawMessage) time.Duration {
	if seconds, err := strconv.Atoi(h.Get("Retry-After")); err == nil && seconds > 0 {
		return time.Duration(seconds) * time.Second
	}
	until, err := http.ParseTime(h.Get("Retry-After"))
	if date, unknown := http.ParseTime(h.Get("Date")); err == nil && unknown == nil && until.After(date) {
		return until.Sub(date)
	}
	var d struct {
		Seconds int `json:"retry_after_seconds"`
	}
	_ = json.Unmarshal(details, &d)
	return time.Duration(d.Seconds) * time.Second
}
