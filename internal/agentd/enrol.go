package agentd

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/internal/agentd/identity"
	"github.com/slipway-ci/slipway/internal/release"
	"github.com/slipway-ci/slipway/internal/version"
	"github.com/slipway-ci/slipway/tokens"
)

// ErrRefused: the hub refuses the enrolment.
var ErrRefused = errors.New("the hub refuses the enrolment")

// Enrolment is what Enrol needs.
type Enrolment struct {
	// Data is the data folder; Hub the hub's URL. Required.
	Data, Hub string
	// Token is the one-time token. Required.
	Token tokens.Token
	// InsecureHTTP allows a hub that is neither https nor on this machine.
	InsecureHTTP bool
	// Key is what updates must be signed with; nil: what is pinned already, else
	// what the hub serves now.
	Key []byte
	// CAFile holds certificates that are trusted beside the system's.
	CAFile string
	// Patience is how long a hub that can't be reached is tried; default 1 min.
	Patience time.Duration
	// Logger; nil discards.
	Logger hclog.Logger
}

// answer is the hub's to an enrolment.
type answer struct {
	Host  string `json:"host"`
	Name  string `json:"name"`
	Owner string `json:"owner"`
}

const (
	enrolPath    = "/api/v1/agent/enrol"
	keyPath      = "/install/update-key.pub"
	callTimeout  = 20 * time.Second
	maxAnswer    = 64 << 10
	maxPatience  = time.Minute
	longestPause = 5 * time.Second
)

// Enrol makes this machine a host of a hub. The agent makes its credential itself
// and sends its digest alone. A lost answer is asked for again, with the same pair;
// a second call with the same one-time token changes nothing.
func Enrol(ctx context.Context, e Enrolment) (identity.Identity, error) {
	if e.Logger == nil {
		e.Logger = hclog.NewNullLogger()
	}
	if e.Patience == 0 {
		e.Patience = maxPatience
	}
	hub, err := hubURL(e.Hub, e.InsecureHTTP)
	if err != nil {
		return identity.Identity{}, err
	}
	e.Hub = hub
	if e.Token.Kind() != tokens.Enrolment {
		return identity.Identity{}, errors.New("the enrolment token is none: one that begins with sf_het_ is needed")
	}
	folder, err := identity.Open(e.Data)
	if err != nil {
		return identity.Identity{}, err
	}
	if err := folder.Settle(); err != nil {
		return identity.Identity{}, err
	}
	client, err := e.client()
	if err != nil {
		return identity.Identity{}, err
	}
	defer client.CloseIdleConnections()
	if known, err := folder.Identity(); err == nil && known.EnrolledBy(e.Hub, e.Token) {
		return known, e.pin(ctx, client, folder)
	}
	if err := e.enrol(ctx, client, folder); err != nil {
		return identity.Identity{}, err
	}
	if err := e.pin(ctx, client, folder); err != nil {
		return identity.Identity{}, err
	}
	return folder.Identity()
}

func (e Enrolment) client() (*http.Client, error) {
	config, _, err := Config{CAFile: e.CAFile}.roots()
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = config
	return &http.Client{
		Transport: transport, Timeout: callTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

func (e Enrolment) enrol(ctx context.Context, client *http.Client, folder *identity.Folder) error {
	pair, err := folder.BeginEnrolment(e.Hub, e.Token)
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]string{"agent": pair.Agent, "digest": pair.Digest.String(), "version": version.String()})
	if err != nil {
		return err
	}
	pause := backoff.NewExponentialBackOff(backoff.WithInitialInterval(250*time.Millisecond), backoff.WithMaxInterval(longestPause), backoff.WithMaxElapsedTime(e.Patience))
	got, err := backoff.RetryNotifyWithData(func() (answer, error) { return e.send(ctx, client, body) }, backoff.WithContext(pause, ctx),
		func(err error, _ time.Duration) {
			e.Logger.Warn("enrol: tried again", "err", tokens.Redact(err.Error()))
		})
	if err != nil {
		return fmt.Errorf("enrol with %s: %w", e.Hub, err)
	}
	return folder.FinishEnrolment(pair, identity.Place{Hub: e.Hub, Host: got.Host, Name: got.Name, Owner: got.Owner, InsecureHTTP: e.InsecureHTTP})
}

// send asks once. An error that asking again can't mend is permanent.
func (e Enrolment) send(ctx context.Context, client *http.Client, body []byte) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.Hub+enrolPath, bytes.NewReader(body))
	if err != nil {
		return answer{}, backoff.Permanent(err)
	}
	req.Header.Set("Authorization", "Bearer "+e.Token.Reveal())
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		if bad := insecure(err); bad != nil {
			return answer{}, backoff.Permanent(bad)
		}
		return answer{}, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return answer{}, fmt.Errorf("the hub's answer: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		if req.URL.Scheme == "http" && speaksTLS(data) {
			return answer{}, backoff.Permanent(errors.New("the hub speaks TLS: --hub must begin with https://"))
		}
		err := problem(res.StatusCode, data)
		if res.StatusCode >= 500 || res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusRequestTimeout {
			return answer{}, err
		}
		return answer{}, backoff.Permanent(err)
	}
	var a answer
	if json.Unmarshal(data, &a) != nil || a.Host == "" || a.Owner == "" {
		return answer{}, backoff.Permanent(errors.New("what answers there is no hub of this version"))
	}
	return a, nil
}

// insecure says of a connection what is wrong with it that asking again can't mend;
// nil: it may pass.
func insecure(err error) error {
	var (
		authority x509.UnknownAuthorityError
		refused   *tls.CertificateVerificationError
	)
	switch {
	case errors.Is(err, http.ErrSchemeMismatch):
		return errors.New("the hub speaks plain HTTP: --hub must begin with http://")
	case errors.As(err, &authority):
		return fmt.Errorf("the hub's certificate is of an authority that this machine does not know: put that authority's certificate (PEM) into a file and set SLIPWAY_CA_FILE, or --ca-file, to it (%w)", authority)
	case errors.As(err, &refused):
		return fmt.Errorf("the hub's certificate is not good here: is --hub right, and this machine's clock? (%w)", refused.Err)
	}
	return nil
}

// speaksTLS knows how servers in Go, and nginx, answer plain HTTP on a port for TLS.
func speaksTLS(body []byte) bool {
	return bytes.Contains(body, []byte("Client sent an HTTP request to an HTTPS server")) || bytes.Contains(body, []byte("plain HTTP request was sent to HTTPS port"))
}

// problem says in words what the hub has answered, and what to do about it.
func problem(status int, data []byte) error {
	var p struct{ Title, Detail string }
	_ = json.Unmarshal(data, &p) // what is no problem of ours has none
	text := p.Detail
	if text == "" {
		text = p.Title
	}
	if text == "" {
		text = http.StatusText(status)
	}
	text = tokens.Redact(text) // it may repeat what it was sent
	const anew = "make a new line with `slipway hosts reenrol NAME`"
	says := strings.Contains(text, "slipway hosts reenrol") // the hub says it all, and once is enough
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusGone:
		if says {
			return fmt.Errorf("%w: %s", ErrRefused, text)
		}
		return fmt.Errorf("%w: the enrolment token is unknown, expired or spent (%s): %s", ErrRefused, text, anew)
	case http.StatusConflict:
		if says {
			return fmt.Errorf("%w: %s", ErrRefused, text)
		}
		return fmt.Errorf("%w: the enrolment token was used by another agent (%s): %s", ErrRefused, text, anew)
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return fmt.Errorf("%w: no hub answers at this URL (status %d)", ErrRefused, status)
	}
	if status >= 300 && status < 400 {
		return fmt.Errorf("%w: the URL leads elsewhere (status %d): give the hub's own", ErrRefused, status)
	}
	return fmt.Errorf("%w: status %d: %s", ErrRefused, status, text)
}

// pin keeps the key that updates must be signed with: the given one, or else, once,
// the one that the hub serves. A hub without one gives a host without updates.
func (e Enrolment) pin(ctx context.Context, client *http.Client, folder *identity.Folder) error {
	if len(e.Key) > 0 {
		if _, err := release.ParsePublicKey(e.Key); err != nil {
			return fmt.Errorf("the key for updates: %w", err)
		}
		return folder.PinKey(e.Key)
	}
	if _, err := folder.Key(); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.Hub+keyPath, nil)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		e.Logger.Warn("no key for updates: the hub can't be asked", "err", err)
		return nil
	}
	defer res.Body.Close()
	key, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if _, bad := release.ParsePublicKey(key); err != nil || res.StatusCode != http.StatusOK || bad != nil {
		e.Logger.Info("the hub serves no key for updates: this agent takes none until it is enrolled with one", "status", res.StatusCode)
		return nil
	}
	return folder.PinKey(key)
}
