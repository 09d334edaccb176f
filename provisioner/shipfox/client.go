package shipfox

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/slipway-ci/slipway/tokens"
)

// client makes single requests.
type client struct {
	http  *http.Client
	base  string
	token tokens.Token

	mu    sync.Mutex
	quiet map[string]quiet // by call.name: until when the service wants to be left alone
}

type quiet struct {
	until time.Time
	err   *APIError
}

// call is one request.
type call struct {
	method, path string
	route        string // the path's pattern, where it holds an id; default path
	body, answer any
	header       map[string]string
	limit        time.Duration
}

// name is what errors call it, and what rests when the service asks for it: an id
// has no part in that.
func (k call) name() string { return k.method + " " + cmp.Or(k.route, k.path) }

// reply is what an answer says beside its body.
type reply struct {
	// date is the service's clock, zero where it does not tell.
	date time.Time
}

// do makes the request once. A route that was answered with Retry-After is left
// alone until then: the same error is returned without asking.
func (c *client) do(ctx context.Context, k call) (reply, error) {
	route := k.name()
	if _, err := c.rest(route); err != nil {
		return reply{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, k.limit)
	defer cancel()
	req, err := c.request(ctx, k)
	if err != nil {
		return reply{}, fmt.Errorf("shipfox: %s: %w", route, err)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return reply{}, fmt.Errorf("shipfox: %s: %w", route, unwrapURL(err))
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, 16*maxBody))
	if err != nil {
		return reply{}, fmt.Errorf("shipfox: %s: read the answer: %w", route, err)
	}
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return reply{}, c.refused(k, res, body)
	}
	if err := json.Unmarshal(body, k.answer); err != nil {
		return reply{}, fmt.Errorf("shipfox: %s: the answer is not what the API promises: %w", route, err)
	}
	date, _ := http.ParseTime(res.Header.Get("Date"))
	return reply{date: date}, nil
}

func (c *client) request(ctx context.Context, k call) (*http.Request, error) {
	var body io.Reader
	if k.body != nil {
		text, err := json.Marshal(k.body)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, k.method, c.base+k.path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.token.Reveal())
	req.Header.Set("Accept", "application/json")
	if k.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for name, value := range k.header {
		req.Header.Set(name, value)
	}
	return req, nil
}

func (c *client) refused(k call, res *http.Response, body []byte) error {
	var envelope struct {
		Code    string          `json:"code"`
		Message string          `json:"message"`
		Details json.RawMessage `json:"details"`
	}
	_ = json.Unmarshal(body, &envelope)
	e := &APIError{
		Route: k.name(), Status: res.StatusCode, Code: envelope.Code, Message: tokens.Redact(envelope.Message),
		RetryAfter: retryAfter(res.Header, envelope.Details), details: envelope.Details,
	}
	if e.redirects() {
		e.Message = tokens.Redact(pointsTo(res, k.path))
	}
	if e.RetryAfter > 0 && e.untaken() {
		c.leaveAlone(e)
	}
	return e
}

func (c *client) leaveAlone(e *APIError) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if until := time.Now().Add(e.RetryAfter); until.After(c.quiet[e.Route].until) {
		c.quiet[e.Route] = quiet{until, e}
	}
}

// rest is for how long the service still wants to be left alone on a route, and
// the answer that said so; without an error it may be asked.
func (c *client) rest(route string) (time.Duration, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	q, ok := c.quiet[route]
	if !ok {
		return 0, nil
	}
	if left := time.Until(q.until); left > 0 {
		return left, q.err
	}
	delete(c.quiet, route)
	return 0, nil
}

// get asks up to three times: a GET changes nothing.
func (c *client) get(ctx context.Context, path string, answer any) (err error) {
	for i, pause := range []time.Duration{300 * time.Millisecond, 600 * time.Millisecond, 0} {
		_, err = c.do(ctx, call{method: http.MethodGet, path: path, answer: answer, limit: callTimeout})
		if e := asAPI(err); err == nil || i == 2 || e != nil && e.Status < 500 && !hasStatus(err, 408, 413, 429) {
			return err
		}
		if sleep(ctx, pause) != nil {
			return err
		}
	}
	return err
}

// post asks once.
func (c *client) post(ctx context.Context, path string, body, answer any) (reply, error) {
	return c.do(ctx, call{method: http.MethodPost, path: path, body: body, answer: answer, limit: callTimeout})
}
