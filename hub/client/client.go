package client

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	callTimeout  = 30 * time.Second
	maxErrorBody = 64 << 10
	// maxSilence is several times the pace at which a hub says that it is there.
	maxSilence = 90 * time.Second
)

// Config says which hub.
type Config struct {
	// URL is the hub's base URL, http or https. Required.
	URL string
	// Token is an admin token, sf_adm_…, or an API token with a role, sf_api_….
	// Required. It is never part of an error.
	Token string
	// HTTP does the requests; nil: a client of its own, with http.DefaultTransport.
	HTTP *http.Client
	// Silence is how long a stream of events may say nothing until the connection
	// is taken for lost; default 90 s.
	Silence time.Duration
}

// Client speaks to one hub. Its methods may be called from many goroutines.
type Client struct {
	base    *url.URL
	token   string
	http    *http.Client
	silence time.Duration
}

// New checks the configuration; it connects to nothing. Errors: ErrUsage.
func New(cfg Config) (*Client, error) {
	base, err := url.Parse(cfg.URL)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, fmt.Errorf("%w: the hub's URL must be http://… or https://…", ErrUsage)
	}
	if cfg.Token == "" || strings.ContainsAny(cfg.Token, " \t\r\n") {
		return nil, fmt.Errorf("%w: an admin or API token is needed", ErrUsage)
	}
	if cfg.Silence < 0 {
		return nil, fmt.Errorf("%w: Silence can't be negative", ErrUsage)
	}
	c := &Client{base: base, token: cfg.Token, http: &http.Client{}, silence: cmp.Or(cfg.Silence, maxSilence)}
	if cfg.HTTP != nil {
		copied := *cfg.HTTP
		c.http = &copied
	}
	// The token goes to this hub and nowhere else.
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c, nil
}

// call does one request with a time limit. in and out may be nil.
func (c *Client) call(ctx context.Context, method, path string, query url.Values, in, out any, headers ...string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout+waited(query))
	defer cancel()
	res, err := c.send(ctx, method, path, query, in, headers...)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if out == nil || res.StatusCode == http.StatusNoContent {
		_, _ = io.CopyN(io.Discard, res.Body, maxErrorBody)
		return nil
	}
	if err := json.NewDecoder(res.Body).Decode(out); err != nil {
		return fmt.Errorf("%w: %s: the answer is not a hub's: %w", ErrUnreachable, c.base.Redacted(), err)
	}
	return nil
}

// waited is what a call asks the hub to wait.
func waited(query url.Values) time.Duration {
	d, _ := time.ParseDuration(query.Get("wait_seconds") + "s")
	return d
}

// send returns a response that is a success; the caller closes its body.
func (c *Client) send(ctx context.Context, method, path string, query url.Values, in any, headers ...string) (*http.Response, error) {
	target := c.base.JoinPath("api/v1", path)
	target.RawQuery = query.Encode()
	body, kind := io.Reader(http.NoBody), ""
	if in != nil {
		var err error
		if body, kind, err = encode(in); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, target.String(), body)
	if err != nil {
		return nil, fmt.Errorf("client: %s %s: %w", method, path, err)
	}
	if in != nil {
		req.Header.Set("Content-Type", kind)
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := c.http.Do(req)
	if err != nil {
		if wrong := c.insecure(err); wrong != nil {
			return nil, wrong
		}
		return nil, unreachable(ctx, err)
	}
	if res.StatusCode < 200 || res.StatusCode > 299 {
		defer func() { _ = res.Body.Close() }()
		return nil, c.readError(res)
	}
	return res, nil
}

// unreachable tells a failed connection from a caller that gave up.
func unreachable(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), context.Canceled) {
		return context.Canceled
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, err)
}

// readError reads a problem document, or makes one of what came instead. A 404
// without one does not come from a hub.
func (c *Client) readError(res *http.Response) error {
	e := &Error{}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxErrorBody))
	if wrong := c.speaksTLS(res, body); wrong != nil {
		return wrong
	}
	err = errors.Join(err, json.Unmarshal(body, e))
	if res.StatusCode == http.StatusNotFound && (err != nil || e.Type == "") {
		e.Detail = fmt.Sprintf("404 from %s, and not a Slipway hub's: is the hub's URL right?", res.Request.URL.Redacted())
	}
	e.Status, e.RequestID = res.StatusCode, res.Header.Get("X-Request-Id")
	if e.Title == "" {
		e.Title = http.StatusText(res.StatusCode)
	}
	return e
}
