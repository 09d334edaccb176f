package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// typePrefix comes before the code of a problem in its type.
const typePrefix = "urn:slipway:problem:"

// Problem is an error as it is answered (RFC 9457).
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

// FieldError says what is wrong with one field. It never repeats its value.
type FieldError struct {
	// Location is such as body.labels or query.cursor.
	Location string `json:"location"`
	Message  string `json:"message"`
}

// Error is the detail.
func (p *Problem) Error() string { return p.Detail }

// GetStatus is Status, for huma.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is application/problem+json, for huma.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// code is the last part of the type.
func (p *Problem) code() string { return strings.TrimPrefix(p.Type, typePrefix) }

// nameProblem puts the request's id into problems. It is a transformer of huma's.
func nameProblem(ctx huma.Context, _ string, v any) (any, error) {
	if p, ok := v.(*Problem); ok {
		p.RequestID = ctx.Header(headerRequest)
	}
	return v, nil
}

func newProblem(status int, code, detail string, fields ...FieldError) *Problem {
	return &Problem{Type: typePrefix + code, Title: http.StatusText(status), Status: status, Detail: detail, Errors: fields}
}

// codes are of the problems that huma finds.
var codes = map[int]string{
	http.StatusBadRequest: "invalid", http.StatusUnprocessableEntity: "invalid", http.StatusRequestEntityTooLarge: "too-large",
	http.StatusRequestedRangeNotSatisfiable: "invalid", http.StatusUnsupportedMediaType: "unsupported-media-type", http.StatusRequestTimeout: "timeout", http.StatusNotAcceptable: "not-acceptable",
}

// huma's errors are made by a variable of its package.
func init() {
	huma.NewError = func(status int, message string, errs ...error) huma.StatusError {
		code, ok := codes[status]
		if !ok {
			code = "internal"
		}
		p := newProblem(status, code, message)
		for _, err := range errs {
			var detailed huma.ErrorDetailer
			if errors.As(err, &detailed) {
				d := detailed.ErrorDetail()
				p.Errors = append(p.Errors, FieldError{Location: d.Location, Message: d.Message})
			}
		}
		return p
	}
}

// stopping answers a request that was ended: its client is gone and reads nothing,
// or the hub stops. Neither is a fault.
func stopping() *Problem {
	return newProblem(http.StatusServiceUnavailable, "stopping", "the hub is stopping: ask again later")
}

// writeProblem answers a problem that is found before huma has the request.
func writeProblem(w http.ResponseWriter, r *http.Request, p *Problem) {
	p.RequestID = r.Header.Get(headerRequest)
	w.Header().Set("Content-Type", p.ContentType(""))
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}

func retryAfter(w http.ResponseWriter, seconds int) {
	w.Header().Set("Retry-After", strconv.Itoa(max(seconds, 1)))
}
