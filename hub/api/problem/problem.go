// Package problem is how the hub tells an error over HTTP: a problem document
// (RFC 9457) with a code that programs read, and the id of the request.
package problem

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

// TypePrefix comes before the code of a problem in its type.
const TypePrefix = "urn:slipway:problem:"

// ContentType is that of a problem.
const ContentType = "application/problem+json"

// HeaderRequestID names a request, in its answer, in problems, in the log and in
// the audit log.
const HeaderRequestID = "X-Request-Id"

// Problem is an error as it is answered.
type Problem struct {
	// Type is urn:slipway:problem: and a code such as storage-full.
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	// RequestID is the request's, as in the hub's log.
	RequestID string `json:"request_id,omitempty"`
	// Errors name the fields that are wrong, for problems of type invalid.
	Errors []FieldError `json:"errors,omitempty"`
}

// FieldError says what is wrong with one field. It never repeats a value that may
// be a secret.
type FieldError struct {
	// Location is such as body.labels or query.cursor.
	Location string `json:"location"`
	Message  string `json:"message"`
}

// Codes are those of all problems: add them here, and to docs/api.md.
var Codes = []string{
	"credential-in-use", "credential-taken", "enrolment-expired", "enrolment-spent", "enrolment-unknown", "forbidden", "host-duplicated", "host-in-use",
	"host-offline", "idempotency-key-reused", "internal", "invalid", "last-admin", "method-not-allowed", "name-taken", "no-public-url", "not-acceptable",
	"not-configured", "not-enrolled", "not-found", "stale", "stopping", "storage-full", "timeout", "token-expired", "token-revoked", "too-large",
	"too-many-failures", "too-many-streams", "unauthorized", "unavailable", "unsupported", "unsupported-media-type",
}

// New is a problem with the title of its status.
func New(status int, code, detail string, fields ...FieldError) *Problem {
	return &Problem{Type: TypePrefix + code, Title: http.StatusText(status), Status: status, Detail: detail, Errors: fields}
}

// Invalid is the problem of one field that breaks a rule: location is such as
// query.cursor, message reads on from the field's name.
func Invalid(location, message string) *Problem {
	_, name, _ := strings.Cut(location, ".")
	return New(http.StatusUnprocessableEntity, "invalid", name+" "+message, FieldError{Location: location, Message: message})
}

// Error is the detail.
func (p *Problem) Error() string { return p.Detail }

// GetStatus is Status, for huma.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is application/problem+json, for huma.
func (p *Problem) ContentType(string) string { return ContentType }

// Code is the last part of the type.
func (p *Problem) Code() string { return strings.TrimPrefix(p.Type, TypePrefix) }

// Write answers r with the problem, and with the request's id.
func (p *Problem) Write(w http.ResponseWriter, r *http.Request) { p.WriteIn(w, r, p) }

// WriteIn is Write for a body that holds the problem and has more members.
func (p *Problem) WriteIn(w http.ResponseWriter, r *http.Request, body any) {
	p.RequestID = r.Header.Get(HeaderRequestID)
	h := w.Header()
	h.Set("Content-Type", ContentType)
	h.Set("Cache-Control", "no-store")
	h.Del("Content-Length") // of what would have been answered
	w.WriteHeader(p.Status)
	answer := json.NewEncoder(w)
	answer.SetEscapeHTML(false) // people read it, with curl and in a program's error
	_ = answer.Encode(body)
}

// RetryAfter says after how many seconds to ask again, at least 1.
func RetryAfter(w http.ResponseWriter, seconds int) {
	w.Header().Set("Retry-After", strconv.Itoa(max(seconds, 1)))
}
