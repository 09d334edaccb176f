package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/hub/api/problem"
	"github.com/slipway-ci/slipway/hub/api/rest"
	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/hub/hosts"
	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/scalesets"
	"github.com/slipway-ci/slipway/hub/storage"
	"github.com/slipway-ci/slipway/template/file"
	"github.com/slipway-ci/slipway/tokens"
)

// fault is how an error of the domain is answered.
type fault struct {
	err    error
	status int
	code   string
	// detail; empty: the error's own words.
	detail string
}

// faults in the order in which they are tried.
var faults = []fault{
	{queue.ErrNotFound, http.StatusNotFound, "not-found", "there is none with this id"},
	{queue.ErrKeyReused, http.StatusConflict, "idempotency-key-reused", "another job was submitted with this Idempotency-Key"},
	{queue.ErrLastAdmin, http.StatusConflict, "last-admin", "this is the last good token with the role admin: make another one first, or nobody can manage the hub"},
	{queue.ErrStorageFull, http.StatusInsufficientStorage, "storage-full", "the hub's disk is too full for anything new"},

	{hosts.ErrNotFound, http.StatusNotFound, "not-found", "there is no such host"},
	{hosts.ErrNameTaken, http.StatusConflict, "name-taken", ""},
	{hosts.ErrStale, http.StatusPreconditionFailed, "stale", ""},
	{hosts.ErrBusy, http.StatusConflict, "host-in-use", ""},
	{hosts.ErrNoPublicURL, http.StatusConflict, "no-public-url", ""},
	{hosts.ErrNotEnrolled, http.StatusConflict, "not-enrolled", "no agent has this host's credential: enrol it first"},
	{hosts.ErrDuplicated, http.StatusConflict, "host-duplicated", ""},
	{hosts.ErrCredentialTaken, http.StatusConflict, "credential-taken", ""},
	{hosts.ErrSpentEnrolment, http.StatusConflict, "enrolment-spent", "the enrolment was used already"},
	{hosts.ErrNotBound, http.StatusServiceUnavailable, "stopping", "the hub has no fleet now: ask again later"},

	{scalesets.ErrNotFound, http.StatusNotFound, "not-found", "there is none with this name"},
	{scalesets.ErrExists, http.StatusConflict, "name-taken", "there is a scale set with this name: edit it, or choose another name"},
	{scalesets.ErrStale, http.StatusPreconditionFailed, "stale", ""},
	{scalesets.ErrInUse, http.StatusConflict, "credential-in-use", ""},

	{fleet.ErrOffline, http.StatusConflict, "host-offline", "the host is offline: its agent can't be asked now"},
	{fleet.ErrUnknownHost, http.StatusNotFound, "not-found", "there is no such host"},
	{fleet.ErrBusyHost, http.StatusConflict, "host-in-use", ""},
	{backend.ErrUnavailable, http.StatusServiceUnavailable, "unavailable", "that can't be asked now: try again later"},
	{fs.ErrNotExist, http.StatusNotFound, "not-found", "there is none any more"},
	{errors.ErrUnsupported, http.StatusConflict, "unsupported", ""},
	{context.DeadlineExceeded, http.StatusGatewayTimeout, "timeout", "there was no answer in time: it may have happened all the same"},
}

// locations are where the fields of the queue's InvalidError come from.
var locations = map[string]string{
	"timeout": "body.timeout_seconds", "key": "header.Idempotency-Key", "lifetime": "body.expires_in_seconds",
	"selector": "query.selector", "ttl": "body.ttl_seconds",
}

// fault turns an error of the domain into an answer, and nil into nil. What is not
// known is told to the log alone.
func (s *Server) fault(err error) error {
	var (
		answered *problem.Problem
		document *file.Error
		invalid  *queue.InvalidError
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &answered):
		return err
	case errors.As(err, &document):
		return wrongDocument(document)
	case errors.As(err, &invalid):
		location, ok := locations[invalid.Field]
		if !ok {
			location = "body." + invalid.Field
		}
		return problem.New(http.StatusUnprocessableEntity, "invalid", invalid.Error(), problem.FieldError{Location: location, Message: invalid.Problem})
	case errors.Is(err, context.Canceled):
		return rest.Stopping()
	case storage.IsFull(err):
		err = queue.ErrStorageFull
	}
	for _, f := range faults {
		if !errors.Is(err, f.err) {
			continue
		}
		detail := f.detail
		if detail == "" {
			detail = sentence(err)
		}
		return problem.New(f.status, f.code, detail)
	}
	s.Logger.Error("request failed", "err", tokens.Redact(err.Error()))
	return problem.New(http.StatusInternalServerError, "internal", "internal error: see the hub's log")
}

// packages are the prefixes that tell programmers where an error is from.
var packages = strings.NewReplacer("hosts: ", "", "scalesets: ", "", "fleet: ", "", "queue: ", "", "backend: ", "")

// sentence is an error of the domain for people.
func sentence(err error) string { return tokens.Redact(packages.Replace(err.Error())) }

// wrongDocument tells all that is wrong with a scale set, or a file of them.
func wrongDocument(wrong *file.Error) *problem.Problem {
	p := problem.New(http.StatusUnprocessableEntity, "invalid", wrong.Error())
	for _, w := range wrong.Problems {
		location := "body"
		if w.Path != "" {
			location += "." + w.Path
		}
		message := w.Message
		if w.Line > 0 {
			message = fmt.Sprintf("line %d, column %d: %s", w.Line, w.Column, message)
		}
		p.Errors = append(p.Errors, problem.FieldError{Location: location, Message: message})
	}
	return p
}
