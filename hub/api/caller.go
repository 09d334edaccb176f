package api

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	"github.com/google/uuid"

	"github.com/slipway-ci/slipway/hub/queue"
)

// caller is who makes a request.
type caller struct {
	token     queue.Token
	address   string
	requestID string
}

type callerKey struct{}

// callerOf is who makes the request of ctx, which every handler has.
func callerOf(ctx context.Context) caller {
	c, _ := ctx.Value(callerKey{}).(caller)
	return c
}

// headerRequest names a request, in its answer, in problems, in the log and in
// the audit log.
const headerRequest = "X-Request-Id"

var goodRequestID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// named gives every request an id, where it did not bring a good one, and
// answers with it. Parameters that come several times come once, with commas.
func named(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = r.Clone(r.Context())
		id := r.Header.Get(headerRequest)
		if !goodRequestID.MatchString(id) {
			id = uuid.NewString()
			r.Header.Set(headerRequest, id)
		}
		r.URL.RawQuery = joined(r.URL.RawQuery)
		w.Header().Set(headerRequest, id)
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

// network is what failures are counted by: whoever has one IPv6 address has the
// whole /64 (RFC 6177).
func network(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil || ip.Unmap().Is4() {
		return address
	}
	prefix, err := ip.WithZone("").Prefix(64)
	if err != nil {
		return address
	}
	return prefix.String()
}
