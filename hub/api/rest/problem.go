package rest

import (
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/slipway-ci/slipway/hub/api/problem"
)

// nameProblem puts the request's id into problems. It is a transformer of huma's.
func nameProblem(ctx huma.Context, _ string, v any) (any, error) {
	if p, ok := v.(*problem.Problem); ok {
		p.RequestID = ctx.Header(problem.HeaderRequestID)
	}
	return v, nil
}

// huma's errors are made by a variable of its package, and another says that a key
// in other letters is another key.
func init() {
	huma.ValidateStrictCasing = true
	huma.NewError = func(status int, message string, errs ...error) huma.StatusError {
		message = strings.Replace(message, "request body is too large limit=", "the body is too large: at most ", 1)
		p := problem.New(status, problem.CodeOf(status), message)
		for _, err := range errs {
			var ours *problem.Problem
			var detailed huma.ErrorDetailer
			switch {
			case errors.As(err, &ours) && len(errs) == 1:
				return ours
			case errors.As(err, &ours):
				p.Errors = append(p.Errors, ours.Errors...)
			case errors.As(err, &detailed):
				d := detailed.ErrorDetail()
				p.Errors = append(p.Errors, problem.FieldError{Location: d.Location, Message: d.Message})
			}
		}
		return p
	}
}

// Stopping answers a request that was ended: its client is gone and reads nothing,
// or the hub stops. Neither is a fault.
func Stopping() *problem.Problem {
	return problem.New(http.StatusServiceUnavailable, "stopping", "the hub is stopping: ask again later")
}

// NotConfigured is the problem of a hub that has no such thing.
func NotConfigured(what string) *problem.Problem {
	return problem.New(http.StatusNotFound, "not-configured", "this hub has no "+what)
}
