package rest

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/google/uuid"

	"github.com/slipway-ci/slipway/hub/api/problem"
	"github.com/slipway-ci/slipway/hub/queue"
)

// Caller is who makes a request.
type Caller struct {
	Token     queue.Token
	Address   string
	RequestID string
}

type callerKey struct{}

// CallerOf is who makes the request of ctx, which every handler has.
func CallerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}

var goodRequestID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// named gives every request an id, where it did not bring a good one, and
// answers with it. Parameters that come several times come once, with commas.
func named(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = r.Clone(r.Context())
		id := r.Header.Get(problem.HeaderRequestID)
		if !goodRequestID.MatchString(id) {
			id = uuid.NewString()
			r.Header.Set(problem.HeaderRequestID, id)
		}
		r.URL.RawQuery = joined(r.URL.RawQuery)
		w.Header().Set(problem.HeaderRequestID, id)
		w.Header().Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// joined is a query in which no parameter comes twice. A query that can't be read
// stays for huma to refuse.
func joined(query string) string {
	values, err := url.ParseQuery(query)
	if err != nil {
		return query
	}
	several := false
	for name, list := range values {
		if len(list) > 1 {
			several = true
			values[name] = []string{strings.Join(list, ",")}
		}
	}
	if !several {
		return query
	}
	return values.Encode()
}

// remoteAddress is the address of the connection.
func remoteAddress(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
