package shipfoxapi

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/tokens"
)

// apiError is an answer that is no success, in the envelope of the API.
type apiError struct {
	status  int
	code    string
	message string
	details map[string]any
	retry   time.Duration
}

// Error tells the code.
func (e *apiError) Error() string { return "shipfoxapi: " + e.code }

var (
	errNotFound     = &apiError{status: http.StatusNotFound, code: "not-found"}
	errBodyTooLarge = &apiError{status: http.StatusRequestEntityTooLarge, code: "body-too-large"}
	errInvalidJSON  = &apiError{status: http.StatusBadRequest, code: "invalid-json-body"}
	errEmptyJSON    = &apiError{status: http.StatusBadRequest, code: "empty-json-body"}
	errMediaType    = &apiError{status: http.StatusUnsupportedMediaType, code: "unsupported-media-type"}
	errStopping     = &apiError{status: http.StatusServiceUnavailable, code: "server-stopping"}
	errServer       = &apiError{status: http.StatusInternalServerError, code: "server-error"}
)

func invalidBody(problem string) error { return validation("body", problem) }

func validation(part, problem string) error {
	return &apiError{status: http.StatusBadRequest, code: "validation-error", message: "[" + part + "] " + problem}
}

func rateLimited(retry time.Duration) error {
	seconds := int(math.Ceil(retry.Seconds()))
	return &apiError{
		status: http.StatusTooManyRequests, code: "rate-limited", retry: retry,
		details: map[string]any{"retry_after_seconds": max(seconds, 1)},
	}
}

// code is how one error of the queue is told on the wire.
type code struct {
	err    error
	status int
	code   string
}

// commonCodes come after those of a route.
var commonCodes = []code{
	{queue.ErrUnauthorized, http.StatusUnauthorized, "unauthorized"},
	{queue.ErrTokenRevoked, http.StatusUnauthorized, "unauthorized"},
	{queue.ErrTokenExpired, http.StatusUnauthorized, "unauthorized"},
	{queue.ErrTokenConsumed, http.StatusUnauthorized, "unauthorized"},
}

func (a *API) translate(r route, c *call, err error) *apiError {
	var answer *apiError
	if asError(err, &answer) {
		return answer
	}
	if c.Context().Err() != nil {
		return errStopping // the client is gone and reads nothing, or the hub stops
	}
	for _, known := range append(r.codes, commonCodes...) {
		if errors.Is(err, known.err) {
			return &apiError{status: known.status, code: known.code}
		}
	}
	a.log.Error("request failed", "route", r.pattern, "err", tokens.Redact(fmt.Sprint(err)))
	return errServer
}

func writeError(w http.ResponseWriter, e *apiError) {
	body := map[string]any{"code": e.code}
	if e.message != "" {
		body["message"] = e.message
	}
	if e.details != nil {
		body["details"] = e.details
	}
	if e.retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(max(int(math.Ceil(e.retry.Seconds())), 1)))
	}
	_ = writeJSON(w, e.status, body)
}

// asError is errors.As for pointers of one type.
func asError[T error](err error, target *T) bool { return errors.As(err, target) }
