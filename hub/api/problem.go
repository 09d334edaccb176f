package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/storage"
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

func newProblem(status int, code, detail string, fields ...FieldError) *Problem {
	return &Problem{Type: typePrefix + code, Title: http.StatusText(status), Status: status, Detail: detail, Errors: fields}
}

// codes are of the problems that huma finds.
var codes = map[int]string{
	http.StatusBadRequest: "invalid", http.StatusUnprocessableEntity: "invalid", http.StatusRequestEntityTooLarge: "too-large",
	http.StatusUnsupportedMediaType: "unsupported-media-type", http.StatusRequestTimeout: "timeout", http.StatusNotAcceptable: "not-acceptable",
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

// locations are where the fields of the queue's InvalidError come from.
var locations = map[string]string{
	"timeout": "body.timeout_seconds", "key": "header.Idempotency-Key", "cursor": "query.cursor", "lifetime": "body.expires_in_seconds",
}

// stopping answers a request that was ended: its client is gone and reads nothing,
// or the hub stops. Neither is a fault.
func stopping() *Problem {
	return newProblem(http.StatusServiceUnavailable, "stopping", "the hub is stopping: ask again later")
}

// problem turns an error of the queue into an answer. What is not known is told
// to the log alone.
func (s *server) problem(err error) error {
	var invalid *queue.InvalidError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &invalid):
		location, ok := locations[invalid.Field]
		if !ok {
			location = "body." + invalid.Field
		}
		return newProblem(http.StatusUnprocessableEntity, "invalid", invalid.Error(), FieldError{Location: location, Message: invalid.Problem})
	case errors.Is(err, queue.ErrNotFound):
		return newProblem(http.StatusNotFound, "not-found", "there is none with this id")
	case errors.Is(err, queue.ErrKeyReused):
		return newProblem(http.StatusConflict, "idempotency-key-reused", "another job was submitted with this Idempotency-Key")
	case errors.Is(err, context.Canceled):
		return stopping()
	case errors.Is(err, queue.ErrStorageFull), storage.IsFull(err):
		return newProblem(http.StatusInsufficientStorage, "storage-full", "the hub's disk is too full for anything new")
	}
	s.Logger.Error("request failed", "err", err)
	return newProblem(http.StatusInternalServerError, "internal", "internal error: see the hub's log")
}

func writeProblem(w http.ResponseWriter, p *Problem) {
	w.Header().Set("Content-Type", p.ContentType(""))
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}

func retryAfter(w http.ResponseWriter, seconds int) {
	w.Header().Set("Retry-After", strconv.Itoa(max(seconds, 1)))
}
