package runnerapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/slipway-ci/slipway/hub/api/problem"
	"github.com/slipway-ci/slipway/hub/queue"
)

// refusal is an answer that is no success.
type refusal struct {
	status  int
	code    string
	message string
	details map[string]any
}

func (r *refusal) Error() string { return r.code + ": " + r.message }

var errNotFound = &refusal{http.StatusNotFound, "not-found", "no such route", nil}

func invalid(message string) error {
	return &refusal{http.StatusBadRequest, "validation-error", message, nil}
}

// known maps the queue's errors to answers.
var known = []struct {
	err    error
	answer refusal
}{
	{queue.ErrUnauthorized, refusal{http.StatusUnauthorized, "unauthorized", "a lease token is needed", nil}},
	{queue.ErrLeaseEnded, refusal{http.StatusConflict, "lease-ended", "the lease is over", nil}},
	{queue.ErrInvalid, refusal{http.StatusBadRequest, "validation-error", "[body] is not valid", nil}},
}

func (h *handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	answer := answerTo(err)
	if answer.status == http.StatusInternalServerError {
		h.Logger.Error("request failed", "method", r.Method, "path", r.URL.Path, "err", err)
	}
	body := map[string]any{"code": answer.code, "message": answer.message}
	if id := r.Header.Get(problem.HeaderRequestID); id != "" {
		body["request_id"] = id
	}
	if answer.details != nil {
		body["details"] = answer.details
	}
	reply(w, answer.status, body)
}

func answerTo(err error) *refusal {
	var answer *refusal
	if errors.As(err, &answer) {
		return answer
	}
	for _, k := range known {
		if errors.Is(err, k.err) {
			return &k.answer
		}
	}
	return &refusal{http.StatusInternalServerError, "server-error", "internal error", nil}
}

// decode reads one JSON object and refuses keys that body does not have.
func decode(text []byte, body any) error {
	reader := json.NewDecoder(bytes.NewReader(text))
	reader.DisallowUnknownFields()
	err := reader.Decode(body)
	var syntax *json.SyntaxError
	switch {
	case errors.Is(err, io.EOF):
		return &refusal{http.StatusBadRequest, "empty-json-body", "a JSON object is needed", nil}
	case errors.As(err, &syntax), errors.Is(err, io.ErrUnexpectedEOF):
		return &refusal{http.StatusBadRequest, "invalid-json-body", "the body is not JSON", nil}
	case err != nil:
		return invalid("[body] " + err.Error())
	case reader.More():
		return invalid("[body] one JSON object is needed")
	}
	return nil
}
