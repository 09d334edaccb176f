package client

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// insecure is a connection that fails however often it is tried.
type insecure struct {
	kind error // ErrAuthority, ErrTLS or ErrScheme
	text string
}

func (e *insecure) Error() string { return e.text }
func (e *insecure) Unwrap() error { return e.kind }

// insecure says of a failed connection that the certificate is not good, or that the
// hub does not speak TLS. Nil: it is something else.
func (c *Client) insecure(err error) error {
	var (
		authority x509.UnknownAuthorityError
		refused   *tls.CertificateVerificationError
	)
	switch {
	case errors.Is(err, http.ErrSchemeMismatch):
		return &insecure{ErrScheme, fmt.Sprintf("%s speaks plain HTTP: its URL must begin with http://", c.base.Redacted())}
	case errors.As(err, &authority):
		return &insecure{ErrAuthority, authority.Error()}
	case errors.As(err, &refused):
		return &insecure{ErrTLS, refused.Err.Error()}
	}
	return nil
}

// plainToTLS is how servers in Go, and nginx, answer plain HTTP on a port for TLS.
var plainToTLS = []string{"Client sent an HTTP request to an HTTPS server", "plain HTTP request was sent to HTTPS port"}

// speaksTLS is the error of a hub that expects TLS; nil: res is something else.
func (c *Client) speaksTLS(res *http.Response, body []byte) error {
	told := slices.ContainsFunc(plainToTLS, func(words string) bool { return strings.Contains(string(body), words) })
	if c.base.Scheme != "http" || res.StatusCode != http.StatusBadRequest || !told {
		return nil
	}
	return &insecure{ErrScheme, fmt.Sprintf("%s speaks TLS: its URL must begin with https://", c.base.Redacted())}
}
