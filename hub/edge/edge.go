package edge

import (
	"bufio"
	"cmp"
	"context"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/hub/api/problem"
)

// HeaderRequestID is the header of a request's id, in the answer, and in the
// request as the handler behind sees it.
const HeaderRequestID = problem.HeaderRequestID

// Config says whom to believe. Zero values mean the defaults.
type Config struct {
	// TrustedProxies are the addresses of proxies in front; default none.
	TrustedProxies []netip.Prefix
	// TLS says that the listener itself speaks TLS: then browsers are told to use
	// nothing else (RFC 6797).
	TLS bool
	// Stall is how long a client may take nothing of an answer until it is cut off:
	// whoever reads nothing must not hold a connection for ever; default 1 min.
	Stall time.Duration
	// Failures is how many answers 401 one address (of IPv6, one /64) gets in a minute,
	// of whatever route, before they become 429; default 120. Good credentials are
	// never counted, and never refused. Routes may have lower limits of their own.
	Failures int
	// Logger gets a line per request at debug level; nil discards.
	Logger hclog.Logger
}

// New puts the edge in front of next.
func New(cfg Config, next http.Handler) http.Handler {
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	cfg.Stall = cmp.Or(cfg.Stall, time.Minute)
	failures := NewFailures(cmp.Or(cfg.Failures, 120))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		client, id := cfg.client(r), cfg.requestID(r)
		r = r.WithContext(context.WithValue(r.Context(), clientKey{}, client))
		r.Header.Set(HeaderRequestID, id)
		cfg.headers(w.Header(), id)
		seen := &watched{ResponseWriter: w, control: http.NewResponseController(w), stall: cfg.Stall}
		seen.refuse = func() bool {
			wait := failures.Add(client, time.Now())
			if wait > 0 {
				TooManyFailures(seen, r, wait)
			}
			return wait > 0
		}
		defer func() {
			seen.patience() // what is still buffered is sent when we have returned
			if cfg.Logger.IsDebug() {
				cfg.Logger.Debug("request", "method", r.Method, "path", Clean(r.URL.Path), "status", cmp.Or(seen.status, http.StatusOK), "took", time.Since(began), "client", client, "request", id)
			}
		}()
		next.ServeHTTP(seen, r)
	})
}

type clientKey struct{}

// ClientIP is the address of who sent the request, behind the trusted proxies. Of
// a request that did not come through New it is the connection's.
func ClientIP(r *http.Request) string {
	if client, ok := r.Context().Value(clientKey{}).(string); ok {
		return client
	}
	return peer(r)
}

func peer(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

func (c Config) trusts(address string) bool {
	addr, err := netip.ParseAddr(address)
	if err != nil {
		return false
	}
	for _, p := range c.TrustedProxies {
		if p.Contains(addr.Unmap()) {
			return true
		}
	}
	return false
}

// client goes back through the proxies for as long as they are trusted: what
// stands further left in X-Forwarded-For, anybody may have written.
func (c Config) client(r *http.Request) string {
	at := peer(r)
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && c.trusts(at); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		at = hop.Unmap().String()
	}
	return at
}

var requestID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

func (c Config) requestID(r *http.Request) string {
	if id := r.Header.Get(HeaderRequestID); c.trusts(peer(r)) && requestID.MatchString(id) {
		return id
	}
	return uuid.NewString()
}

// headers are those that the OWASP secure headers project advises for what is
// not to be framed, sniffed or run; pages set a wider policy of their own.
func (c Config) headers(h http.Header, id string) {
	h.Set(HeaderRequestID, id)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	if c.TLS {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

var secretPath = regexp.MustCompile(`sf_[A-Za-z0-9_-]+`)

// Clean is a path as it may be logged: a token in it, as in those of install
// scripts, is cut out.
func Clean(path string) string { return secretPath.ReplaceAllString(path, "sf_…") }

// watched remembers the status for the log, cuts off who does not read, and has
// refused who fails too often.
type watched struct {
	http.ResponseWriter
	control *http.ResponseController
	stall   time.Duration
	status  int
	refuse  func() bool // answers in its own words, and says so
	refused bool        // the handler's own answer goes nowhere
}

// patience gives the client time anew, for what is written next.
func (w *watched) patience() {
	_ = w.control.SetWriteDeadline(time.Now().Add(w.stall)) // none where there is no connection
}

// Hijack and Flush are for those who ask the writer itself for them, as
// gorilla/websocket does.
func (w *watched) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if w.status == 0 {
		w.status = http.StatusSwitchingProtocols
	}
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

// Flush sends what is there.
func (w *watched) Flush() {
	w.patience()
	_ = w.control.Flush()
}

// Unwrap lets http.ResponseController reach what is below.
func (w *watched) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *watched) WriteHeader(status int) {
	switch {
	case w.refused:
		return
	case status == http.StatusUnauthorized && w.status == 0:
		if w.refused = w.refuse(); w.refused {
			return
		}
	}
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.patience()
	w.ResponseWriter.WriteHeader(status)
}

func (w *watched) Write(b []byte) (int, error) {
	if w.refused {
		return len(b), nil
	}
	if w.status == 0 {
		w.status = http.StatusOK
	}
	w.patience()
	return w.ResponseWriter.Write(b)
}
