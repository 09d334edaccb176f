// Package enrolapi takes the enrolments of agents over HTTP: the one request that
// turns an invitation into a credential. Package hosts does it.
package enrolapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/hub/hosts"
	"github.com/slipway-ci/slipway/hub/hosts/form"
	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/tokens"
)

// Path is where Handler is to be served.
const Path = "/api/v1/agent/enrol"

// mostBody bounds what an agent sends to be enrolled.
const mostBody = 4 << 10

// Request is what an agent sends, beside its enrolment token as a bearer.
// Fields that are not known are passed over, so that a newer agent is understood.
type Request struct {
	// Agent is the agent's id, a UUID in lower case.
	Agent string `json:"agent"`
	// Digest is the SHA-256 of its credential, in hexadecimal.
	Digest string `json:"digest"`
	// Version of the agent; may be empty.
	Version string `json:"version,omitempty"`
}

// Answer is what the agent gets.
type Answer struct {
	// Host is the host's id, and Owner what marks its runners: the id again.
	Host  string `json:"host"`
	Name  string `json:"name"`
	Owner string `json:"owner"`
	// Labels are the host's.
	Labels map[string]string `json:"labels"`
}

// problem is an error as it is answered (RFC 9457).
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
}

// Registry enrols agents: a *hosts.Registry.
type Registry interface {
	Enrol(ctx context.Context, token tokens.Token, agent string, digest tokens.Digest) (hosts.Host, error)
}

var _ Registry = (*hosts.Registry)(nil)

// Handler takes the enrolments of agents. What is wrong is told as
// application/problem+json: 401 for a token that is unknown, expired or spent, 409
// where it was used by another agent or for another credential, 422 for a body
// that breaks a rule.
func Handler(r Registry, log hclog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if req.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			refuse(w, http.StatusMethodNotAllowed, "method-not-allowed", "POST is needed")
			return
		}
		token, ok := bearer(req)
		if !ok {
			refuse(w, http.StatusUnauthorized, "unauthorized", "an enrolment token (sf_het_…) is needed: make one with slipway hosts add or reenrol")
			return
		}
		body, digest, err := decode(http.MaxBytesReader(w, req.Body, mostBody))
		if err != nil {
			refuseEnrol(w, log, err)
			return
		}
		h, err := r.Enrol(req.Context(), token, body.Agent, digest)
		if err != nil {
			refuseEnrol(w, log, err)
			return
		}
		log.Debug("agent enrolled", "host", h.Name, "version", body.Version)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(Answer{Host: h.ID, Name: h.Name, Owner: h.ID, Labels: h.Labels})
	})
}

func bearer(req *http.Request) (tokens.Token, bool) {
	scheme, text, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	token, err := tokens.Parse(strings.TrimSpace(text))
	return token, err == nil && strings.EqualFold(scheme, "Bearer") && token.Kind() == tokens.Enrolment
}

// decode reads a request's body: one JSON object, and nothing after it.
func decode(body io.Reader) (req Request, digest tokens.Digest, err error) {
	decoder := json.NewDecoder(body)
	if err := decoder.Decode(&req); err != nil {
		return req, digest, unreadable(err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return req, digest, unreadable(err)
	}
	if len(req.Version) > form.MaxVersionLength {
		return req, digest, form.Invalid("version", "is %d characters: at most %d are allowed", len(req.Version), form.MaxVersionLength)
	}
	if digest, err = tokens.ParseDigest(req.Digest); err != nil || digest == (tokens.Digest{}) {
		return req, digest, form.Invalid("digest", "is no SHA-256 in hexadecimal: 64 characters are needed")
	}
	return req, digest, nil
}

// unreadable is of a body that is too large, or no JSON object. The body is not
// repeated.
func unreadable(err error) error {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return fmt.Errorf("hosts: read enrolment: %w", large)
	}
	return form.Invalid("body", `is no JSON object such as {"agent": "<uuid>", "digest": "<64 hex>"}`)
}

func refuseEnrol(w http.ResponseWriter, log hclog.Logger, err error) {
	var (
		wrong *queue.InvalidError
		large *http.MaxBytesError
	)
	const anew = ": make a new one with slipway hosts reenrol"
	switch {
	case errors.As(err, &wrong):
		refuse(w, http.StatusUnprocessableEntity, "invalid", wrong.Error())
	case errors.As(err, &large):
		refuse(w, http.StatusRequestEntityTooLarge, "too-large", fmt.Sprintf("the body is more than %d bytes", large.Limit))
	case errors.Is(err, hosts.ErrOtherAgent):
		refuse(w, http.StatusConflict, "enrolment-spent", "the enrolment token was used by another agent, or for another credential"+anew)
	case errors.Is(err, hosts.ErrCredentialTaken):
		refuse(w, http.StatusConflict, "credential-taken", "the credential is another host's: let the agent make one of its own")
	case errors.Is(err, hosts.ErrSpentEnrolment):
		refuse(w, http.StatusUnauthorized, "enrolment-spent", "the enrolment token was used"+anew)
	case errors.Is(err, hosts.ErrExpiredEnrolment):
		refuse(w, http.StatusUnauthorized, "enrolment-expired", "the enrolment token has expired"+anew)
	case errors.Is(err, hosts.ErrUnknownEnrolment):
		refuse(w, http.StatusUnauthorized, "enrolment-unknown", "the enrolment token is unknown, or was cancelled"+anew)
	default:
		log.Error("enrol an agent", "err", tokens.Redact(err.Error()))
		refuse(w, http.StatusInternalServerError, "internal", "internal error: see the hub's log")
	}
}

func refuse(w http.ResponseWriter, status int, code, detail string) {
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	answer := json.NewEncoder(w)
	answer.SetEscapeHTML(false) // it is read by people, in the agent's error
	_ = answer.Encode(problem{Type: "urn:slipway:problem:" + code, Title: http.StatusText(status), Status: status, Detail: detail})
}
