package runner

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/slipway-ci/slipway/internal/version"
)

const (
	callTimeout  = 10 * time.Second
	maxAnswer    = 8 << 20 // a job's script and environment, escaped
	maxErrorBody = 64 << 10
)

// client speaks to the hub.
type client struct {
	base *url.URL
	http *http.Client
}

// apiError is an answer that is no success.
type apiError struct {
	Status     int           `json:"-"`
	Code       string        `json:"code"`
	Message    string        `json:"message"`
	RetryAfter time.Duration `json:"-"`
	Details    struct {
		Offset *int64 `json:"offset"`
	} `json:"details"`
}

func (e *apiError) Error() string {
	text := strconv.Itoa(e.Status)
	if e.Code != "" {
		text += " " + e.Code
	}
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// final says that the same request will never be accepted.
func (e *apiError) final() bool {
	switch e.Status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return e.Status < 500
}

// isStatus says whether err is an answer with one of these status codes.
func isStatus(err error, codes ...int) bool {
	var answer *apiError
	if !errors.As(err, &answer) {
		return false
	}
	for _, code := range codes {
		if answer.Status == code {
			return true
		}
	}
	return false
}

// unreadable says whether err is an answer that came, and is not the JSON that
// it should be: not one that was cut off on the way.
func unreadable(err error) bool {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	return errors.Is(err, io.EOF) && !errors.As(err, new(net.Error)) && !errors.As(err, new(*url.Error)) ||
		errors.As(err, &syntax) || errors.As(err, &kind)
}

func newClient(c Config) (*client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DialContext = (&net.Dialer{Timeout: callTimeout}).DialContext
	if c.CAFile != "" {
		roots, err := x509.SystemCertPool()
		if err != nil {
			roots = x509.NewCertPool() // an image without any
		}
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, usage(envCA, err.Error())
		}
		if !roots.AppendCertsFromPEM(pem) {
			return nil, usage(envCA, c.CAFile+" holds no certificate")
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	return &client{base: c.URL, http: &http.Client{
		Transport: transport,
		// A credential goes where it was meant to go, and nowhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

func (c *client) close() { c.http.CloseIdleConnections() }

// call does one request. in is nil for no body, []byte for a chunk of log, or
// goes as JSON; out takes a JSON answer, and stays as it is on 204.
func (c *client) call(ctx context.Context, method, path, token string, in, out any) error {
	req, err := c.request(ctx, method, path, in)
	if err != nil {
		return err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer func() {
		_, _ = io.CopyN(io.Discard, res.Body, maxErrorBody) // so that the connection can be used again
		_ = res.Body.Close()
	}()
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return readError(res)
	}
	if res.StatusCode == http.StatusNoContent || out == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(out); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return nil
}

func (c *client) request(ctx context.Context, method, path string, in any) (*http.Request, error) {
	target := c.base.JoinPath()
	ref, err := url.Parse(path)
	if err != nil {
		return nil, err
	}
	target = target.JoinPath(ref.Path)
	target.RawQuery = ref.RawQuery
	body, kind := io.Reader(http.NoBody), ""
	switch in := in.(type) {
	case nil:
	case []byte:
		body, kind = bytes.NewReader(in), "application/octet-stream"
	default:
		text, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body, kind = bytes.NewReader(text), "application/json"
	}
	req, err := http.NewRequestWithContext(ctx, method, target.String(), body)
	if err != nil {
		return nil, err
	}
	// It tells the hub that this runner keeps the promises of one of its own.
	req.Header.Set("User-Agent", "slipway-runner/"+version.String())
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	return req, nil
}

func readError(res *http.Response) error {
	answer := &apiError{}
	_ = json.NewDecoder(io.LimitReader(res.Body, maxErrorBody)).Decode(answer)
	answer.Status = res.StatusCode
	if s, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && s > 0 {
		answer.RetryAfter = time.Duration(s) * time.Second
	}
	return answer
}
