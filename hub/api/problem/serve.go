package problem

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"strings"
)

// maxRefusal bounds what is read of a handler's error.
const maxRefusal = 64 << 10

// Serve serves r with next, and answers what it says is wrong, in a text for instance,
// as a problem with the request's id. Everything else goes through as it comes. refuse,
// if there is one, is told the status first: where it returns true, it has answered.
func Serve(next http.Handler, w http.ResponseWriter, r *http.Request, refuse func(status int) bool) {
	h := &held{ResponseWriter: w}
	next.ServeHTTP(h, r)
	if h.status != 0 && (refuse == nil || !refuse(h.status)) {
		h.problem().Write(w, r)
	}
}

// codes are of problems of which the status alone is known.
var codes = map[int]string{
	http.StatusBadRequest: "invalid", http.StatusUnprocessableEntity: "invalid", http.StatusRequestEntityTooLarge: "too-large",
	http.StatusRequestedRangeNotSatisfiable: "invalid", http.StatusUnsupportedMediaType: "unsupported-media-type", http.StatusRequestTimeout: "timeout",
	http.StatusNotAcceptable: "not-acceptable", http.StatusUnauthorized: "unauthorized", http.StatusForbidden: "forbidden", http.StatusNotFound: "not-found",
	http.StatusMethodNotAllowed: "method-not-allowed", http.StatusPreconditionFailed: "stale", http.StatusServiceUnavailable: "unavailable",
}

// CodeOf is the code of a problem of which the status alone is known.
func CodeOf(status int) string {
	if code, ok := codes[status]; ok {
		return code
	}
	return "internal"
}

// held is an answer of a handler: an error is held back.
type held struct {
	http.ResponseWriter
	begun  bool // it is no error
	status int  // of an error
	body   bytes.Buffer
}

// WriteHeader is http.ResponseWriter's.
func (h *held) WriteHeader(status int) {
	switch {
	case h.begun || h.status != 0:
	case status >= http.StatusBadRequest:
		h.status = status
	default:
		h.begun = status >= http.StatusOK
		h.ResponseWriter.WriteHeader(status)
	}
}

// Write is http.ResponseWriter's.
func (h *held) Write(p []byte) (int, error) {
	if h.status == 0 {
		h.begun = true
		return h.ResponseWriter.Write(p)
	}
	if room := maxRefusal - h.body.Len(); room > 0 {
		h.body.Write(p[:min(len(p), room)])
	}
	return len(p), nil
}

// problem is what the handler said is wrong: as a problem document, or in a text.
func (h *held) problem() *Problem {
	p := New(h.status, CodeOf(h.status), strings.TrimSpace(h.body.String()))
	if strings.HasPrefix(h.Header().Get("Content-Type"), ContentType) {
		_ = json.Unmarshal(h.body.Bytes(), p) // what can't be read stays as it is
	}
	if p.Detail == "" {
		p.Detail = p.Title
	}
	return p
}

// Unwrap is for http.ResponseController.
func (h *held) Unwrap() http.ResponseWriter { return h.ResponseWriter }

// Hijack is http.Hijacker's, for WebSockets.
func (h *held) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(h.ResponseWriter).Hijack()
}
