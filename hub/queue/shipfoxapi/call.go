package shipfoxapi

import (
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/slipway-ci/slipway/hub/queue"
)

// maxBody bounds a request's body.
const maxBody = 1 << 20

// route is one route of the API.
type route struct {
	// pattern is the mux's.
	pattern string
	// generations that have the route; nil: it is not a provisioner's, and its
	// handler looks at the token.
	generations []queue.Generation
	// body checks the body; nil: any body, or none, will do.
	body func(*call) check
	// handle answers: with what becomes the JSON body, or nil for 204.
	handle func(*call) (any, error)
	// codes are how its errors are told; the first that fits counts.
	codes []code
}

// call is one request on its way.
type call struct {
	*http.Request
	token       string
	provisioner queue.Provisioner
	body        object
	// lost is called when the answer could not be delivered.
	lost func()
}

func (a *API) serve(r route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		c := &call{Request: req, token: bearer(req)}
		answer, err := a.answer(w, r, c)
		if err != nil {
			writeError(w, a.translate(r, c, err))
			return
		}
		if c.lost != nil && req.Context().Err() != nil { // it went away before there was an answer
			c.lost()
			return
		}
		// From here on the context tells nothing: it ends too when a client has read all
		// and closes its connection.
		if err := writeJSON(w, http.StatusOK, answer); err != nil && c.lost != nil {
			c.lost()
		}
	})
}

func (a *API) answer(w http.ResponseWriter, r route, c *call) (any, error) {
	if r.generations != nil {
		if err := a.admit(r, c); err != nil {
			return nil, err
		}
	}
	body, err := readBody(w, c.Request)
	if err != nil {
		return nil, err
	}
	if r.body != nil {
		if problem := r.body(c)(body); problem != "" {
			return nil, invalidBody(problem)
		}
	}
	c.body, _ = body.(object)
	return r.handle(c)
}

// admit finds the provisioner, and whether its generation has the route.
func (a *API) admit(r route, c *call) (err error) {
	if c.provisioner, err = a.queue.AuthenticateProvisioner(c.Context(), c.token); err != nil {
		return err
	}
	for _, g := range r.generations {
		if g == c.provisioner.Generation {
			return nil
		}
	}
	return errNotFound
}

func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// readBody reads JSON (or, as the API does, plain text, which no route takes).
func readBody(w http.ResponseWriter, r *http.Request) (any, error) {
	if r.Method == http.MethodGet {
		return undefined{}, nil
	}
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		if tooLarge := new(http.MaxBytesError); asError(err, &tooLarge) {
			return nil, errBodyTooLarge
		}
		return nil, errInvalidJSON
	}
	header := r.Header.Get("Content-Type")
	if header == "" && len(text) == 0 {
		return undefined{}, nil
	}
	switch kind, _, _ := mime.ParseMediaType(header); kind {
	case "application/json":
		return parseJSON(text)
	case "text/plain":
		return string(text), nil
	}
	return nil, errMediaType
}

func parseJSON(text []byte) (any, error) {
	if len(text) == 0 {
		return nil, errEmptyJSON
	}
	var body any
	if err := json.Unmarshal(text, &body); err != nil {
		return nil, errInvalidJSON
	}
	return body, nil
}

func writeJSON(w http.ResponseWriter, status int, body any) error {
	if body == nil {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Length", strconv.Itoa(len(text))) // with it, one write to the socket is all
	w.WriteHeader(status)
	if _, err := w.Write(text); err != nil {
		return err
	}
	return http.NewResponseController(w).Flush()
}
