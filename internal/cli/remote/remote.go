// Package remote is what the commands that talk to a hub have in common: where the
// hub is, whose token is used, and what to tell people when it does not go well.
package remote

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/slipway-ci/slipway/hub/client"
	"github.com/slipway-ci/slipway/internal/cli/command"
)

const (
	// EnvPrefix comes before a flag's name in the environment.
	EnvPrefix = "SLIPWAY_"
	// EnvURL is the variable of the hub's address, EnvToken that of the token.
	EnvURL   = EnvPrefix + "URL"
	EnvToken = EnvPrefix + "TOKEN"
	// EnvCA is the variable of a file with certificates (PEM) that are trusted beside
	// the system's.
	EnvCA = EnvPrefix + "CA_FILE"

	// DefaultURL is where a hub listens by default: hub.DefaultListen.
	DefaultURL = "http://127.0.0.1:8570"
)

// Hub is a hub as the commands see it.
type Hub struct {
	*client.Client
	// Address is the hub's URL, without a password.
	Address string
	// Notices is where people are told, in lines and from any goroutine, what they
	// should know while they wait: standard error.
	Notices io.Writer

	way *way
}

// Address is the hub's URL, as the environment says.
func Address() string { return cmp.Or(os.Getenv(EnvURL), DefaultURL) }

// Connect makes a client from the environment. The token is never an argument:
// those can be read by everybody on the machine.
func Connect(c *cobra.Command) (*Hub, error) {
	token := os.Getenv(EnvToken)
	if token == "" {
		return nil, command.Usage(c, "%s is not set: it is the admin token that the hub's first start printed, or one of slipway tokens create", EnvToken)
	}
	transport, err := Transport(c)
	if err != nil {
		return nil, err
	}
	h := &Hub{Address: Address(), Notices: &shared{Writer: c.ErrOrStderr()}}
	if address, err := url.Parse(h.Address); err == nil {
		h.Address = address.Redacted()
	}
	h.way = &way{next: transport, notices: h.Notices, address: h.Address}
	h.Client, err = client.New(client.Config{URL: Address(), Token: token, HTTP: &http.Client{Transport: h.way}})
	if err != nil {
		return nil, command.Usage(c, "%s or %s: %w", EnvURL, EnvToken, err)
	}
	return h, nil
}

// Transport is how the hub is reached: as the environment says, with the
// certificates of EnvCA.
func Transport(c *cobra.Command) (*http.Transport, error) {
	standard := http.DefaultTransport.(*http.Transport)
	path := os.Getenv(EnvCA)
	if path == "" {
		return standard, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, command.Usage(c, "%s: %w", EnvCA, err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool() // a machine without any
	}
	if !roots.AppendCertsFromPEM(text) {
		return nil, command.Usage(c, "%s: %s has no certificate in PEM", EnvCA, path)
	}
	transport := standard.Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	return transport, nil
}

// lists are the commands that tell which objects of a kind there are.
var lists = map[string]string{
	"job": "jobs list", "token": "tokens list", "host": "hosts list", "enrolment": "hosts enrolments list", "scale set": "scale-sets list",
	"credential": "credentials list", "runner": "runners list",
}

// Explain says what to do about an error of a call of c. kind and name are the
// object's; a name may be empty.
func (h *Hub) Explain(c *cobra.Command, kind, name string, err error) error {
	object := strings.TrimSpace(kind + " " + name)
	var answer *client.Error
	switch {
	case err == nil:
		return nil
	case command.Interrupt(c.Context()) != nil:
		return command.Interrupt(c.Context())
	case errors.Is(err, client.ErrUnauthorized):
		return fmt.Errorf("the hub at %s refuses the token in %s: %w", h.Address, EnvToken, err)
	case errors.Is(err, client.ErrForbidden):
		return fmt.Errorf("the token in %s may not do this: %w (slipway whoami shows its role)", EnvToken, err)
	case errors.Is(err, client.ErrNotConfigured):
		return fmt.Errorf("the hub at %s has no %ss: %w", h.Address, kind, err)
	case errors.Is(err, client.ErrNotFound):
		text := fmt.Sprintf("there is no %s on the hub at %s", object, h.Address)
		if list := lists[kind]; list != "" && name != "" {
			text += " (see slipway " + list + ")"
		}
		return errors.New(text)
	case errors.Is(err, client.ErrStale):
		return fmt.Errorf("%s was edited by somebody else since it was read: look at it again, then repeat", object)
	case errors.Is(err, client.ErrInvalid), errors.Is(err, client.ErrUsage):
		return command.Invalid(err)
	case errors.Is(err, client.ErrTooMany), errors.As(err, &answer) && answer.Status == http.StatusTooManyRequests:
		return fmt.Errorf("the hub at %s: %w%s", h.Address, err, h.way.again())
	case errors.Is(err, client.ErrAuthority):
		return fmt.Errorf("the certificate of the hub at %s is of an authority that this machine does not know: put that authority's certificate (PEM) into a file and set %s to it (%w)", h.Address, EnvCA, err)
	case errors.Is(err, client.ErrTLS):
		return fmt.Errorf("the certificate of the hub at %s is not good for it: is %s right, and the clock? (%w)", h.Address, EnvURL, err)
	case errors.Is(err, client.ErrScheme):
		return command.Invalid(fmt.Errorf("%s: %w", EnvURL, err))
	case errors.Is(err, client.ErrUnreachable):
		return fmt.Errorf("no hub answers at %s: start slipway-hub, or set %s (%w)", h.Address, EnvURL, err)
	}
	return err
}

// Page is a list as the API answers it.
type Page[T any] struct {
	Items []T     `json:"items"`
	Next  *string `json:"next"`
}

// PageOf makes a Page; next is empty at the end.
func PageOf[T any](items []T, next string) Page[T] {
	p := Page[T]{Items: items}
	if items == nil {
		p.Items = []T{}
	}
	if next != "" {
		p.Next = &next
	}
	return p
}

// All reads all pages of a list; next is empty.
func All[T any](read func(cursor string) ([]T, string, error)) (all []T, next string, err error) {
	for cursor := ""; ; {
		items, next, err := read(cursor)
		if err != nil {
			return nil, "", err
		}
		all = append(all, items...)
		if next == "" || next == cursor {
			return all, "", nil
		}
		cursor = next
	}
}

// Limit adds --limit and --cursor to a list. Check refuses a limit that no hub takes.
type Limit struct {
	N      int
	Cursor string
}

// Add adds the flags.
func (l *Limit) Add(c *cobra.Command) {
	c.Flags().IntVar(&l.N, "limit", 50, "how many at most: 1 to 500")
	c.Flags().StringVar(&l.Cursor, "cursor", "", "go on where a list ended: its next")
}

// Check is a usage error for a limit that no hub takes.
func (l *Limit) Check(c *cobra.Command) error {
	if l.N < 1 || l.N > 500 {
		return command.Usage(c, "--limit is %d: 1 to 500 is allowed", l.N)
	}
	return nil
}
