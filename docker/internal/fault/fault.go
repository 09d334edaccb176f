// Package fault gives what goes wrong at an engine its class, as package backend has
// them, by the engine's status and, where that says nothing, by its own words.
package fault

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptrace"
	"strings"
	"sync/atomic"

	cerrdefs "github.com/containerd/errdefs"

	"github.com/slipway-ci/slipway/backend"
)

// Call is a request to the engine of which it matters whether it has left. The
// client's own errors do not tell: it calls every failure of a connection "error
// during connect".
type Call struct {
	connected atomic.Bool
}

// Trace returns a ctx whose request is watched by c. Package net/http looks for
// a connection again only when it knows that the request did not leave on the
// last one, as on one that had been closed while it was idle: what counts is the last try.
func (c *Call) Trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { c.connected.Store(false) },
		GotConn: func(httptrace.GotConnInfo) { c.connected.Store(true) },
	})
}

// Left says whether the last request, or what of it was tried last, found a connection.
func (c *Call) Left() bool { return c.connected.Load() }

// Answered says whether err is the engine's own answer rather than a failure on
// the way. The client gives each HTTP error status a class; 502, 503 and 504 are
// left out, since a proxy answers with them while the engine may be at work.
func Answered(err error) bool {
	return cerrdefs.IsInvalidArgument(err) || cerrdefs.IsNotFound(err) || cerrdefs.IsConflict(err) ||
		cerrdefs.IsPermissionDenied(err) || cerrdefs.IsUnauthorized(err) || cerrdefs.IsInternal(err) ||
		cerrdefs.IsNotImplemented(err) || cerrdefs.IsResourceExhausted(err)
}

// Of gives a failed request that creates nothing by itself its class: what
// never reached the engine, or came to nothing on the way, is ErrUnavailable.
func Of(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return err
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	case backend.IsDefinite(err):
		return err
	case Answered(err):
		return Answer(err)
	}
	return As(backend.ErrUnavailable, err)
}

// As joins the sentinel with the engine's words, on one line.
func As(sentinel, err error) error { return fmt.Errorf("%w: %w", sentinel, err) }

// wordings are the engine's own words for what has no class of its own: it
// answers with status 500 to a full disk as to an entrypoint that is not there.
// The first that fits counts.
var wordings = []struct {
	words    string
	sentinel error
}{
	{"no space left", backend.ErrExhausted},
	{"disk quota exceeded", backend.ErrExhausted},
	{"cannot allocate memory", backend.ErrExhausted},
	{"resource temporarily unavailable", backend.ErrExhausted},
	{"too many open files", backend.ErrExhausted},
	{"non-overlapping ipv4 address pool", backend.ErrExhausted},
	{"address pools have been fully subnetted", backend.ErrExhausted},
	{"no available ipv4 addresses", backend.ErrExhausted},
	{"no available ip addresses", backend.ErrExhausted},
	{"exchange full", backend.ErrExhausted}, // a bridge holds 1023 ports
	{"port is already allocated", backend.ErrExhausted},
	{"toomanyrequests", backend.ErrExhausted},
	{"too many requests", backend.ErrExhausted},

	{"could not select device driver", backend.ErrInvalid},
	{"oci runtime create failed", backend.ErrInvalid},
	{"executable file not found", backend.ErrInvalid},
	{"unable to find user", backend.ErrInvalid},
	{"unknown runtime", backend.ErrInvalid},
	{"unknown or invalid runtime", backend.ErrInvalid},
	{"unknown log driver", backend.ErrInvalid},
	{"logger: no log driver", backend.ErrInvalid},
	{"error while mounting volume", backend.ErrInvalid},
	{"error mounting", backend.ErrInvalid},
	{"from daemon: invalid", backend.ErrInvalid},
	{"invalid reference format", backend.ErrInvalid},
	{"manifest unknown", backend.ErrInvalid},
	{"no matching manifest", backend.ErrInvalid},
	{"does not match the specified platform", backend.ErrInvalid},
	{"access denied", backend.ErrInvalid},
	{"authentication required", backend.ErrInvalid},
	{"no basic auth credentials", backend.ErrInvalid},
	{"unauthorized", backend.ErrInvalid},
	{"repository does not exist", backend.ErrInvalid},
	{"not found", backend.ErrInvalid},
}

// Answer gives an error that the engine answered with its class. What it gives
// no reason for that we know is trouble of the engine's own: ErrUnavailable.
func Answer(err error) error {
	text := strings.ToLower(err.Error())
	for _, w := range wordings {
		if strings.Contains(text, w.words) {
			return As(w.sentinel, err)
		}
	}
	switch {
	case cerrdefs.IsPermissionDenied(err):
		return As(backend.ErrRefused, err)
	case cerrdefs.IsInvalidArgument(err), cerrdefs.IsNotFound(err), cerrdefs.IsUnauthorized(err),
		cerrdefs.IsConflict(err), cerrdefs.IsNotImplemented(err):
		return As(backend.ErrInvalid, err)
	case cerrdefs.IsResourceExhausted(err):
		return As(backend.ErrExhausted, err)
	}
	return As(backend.ErrUnavailable, err)
}

// Invalid is what the engine will never do.
func Invalid(format string, args ...any) error {
	return As(backend.ErrInvalid, fmt.Errorf(format, args...))
}

// Refused is what the host's owner does not allow.
func Refused(format string, args ...any) error {
	return As(backend.ErrRefused, fmt.Errorf(format, args...))
}
