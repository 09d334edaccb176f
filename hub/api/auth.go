package api

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/tokens"
)

// authenticate lets admin tokens through.
func (s *server) authenticate(ctx huma.Context, next func(huma.Context)) {
	scheme, token, _ := strings.Cut(ctx.Header("Authorization"), " ")
	err := queue.ErrUnauthorized
	if strings.EqualFold(scheme, "bearer") {
		_, err = s.Queue.Authenticate(ctx.Context(), strings.TrimSpace(token), tokens.Admin)
	}
	if err == nil {
		next(ctx)
		return
	}
	r, w := humago.Unwrap(ctx)
	p := s.refusal(err)
	if p.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
		if wait := s.failures.add(address(r), time.Now()); wait > 0 {
			retryAfter(w, int(wait/time.Second)+1)
			p = newProblem(http.StatusTooManyRequests, "too-many-failures", "too many failed attempts from this address")
		}
	}
	writeProblem(w, p)
}

func (s *server) refusal(err error) *Problem {
	switch {
	case errors.Is(err, queue.ErrUnauthorized):
		return newProblem(http.StatusUnauthorized, "unauthorized", "an admin token is needed: Authorization: Bearer sf_adm_…")
	case errors.Is(err, queue.ErrTokenRevoked):
		return newProblem(http.StatusUnauthorized, "token-revoked", "this token was revoked")
	case errors.Is(err, queue.ErrTokenExpired):
		return newProblem(http.StatusUnauthorized, "token-expired", "this token has expired")
	case errors.Is(err, context.Canceled):
		return stopping()
	}
	s.Logger.Error("authentication failed", "err", err)
	return newProblem(http.StatusInternalServerError, "internal", "internal error: see the hub's log")
}

func address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// failures counts failed attempts by address, in windows of a minute. Only what
// failed is counted and refused: many good clients behind one address are not.
type failures struct {
	limit int

	mu     sync.Mutex
	window time.Time
	counts map[string]int
}

// maxAddresses bounds one window; beyond it new addresses share a count.
const maxAddresses = 10_000

func newFailures(limit int) *failures { return &failures{limit: limit, counts: map[string]int{}} }

// add counts one failure. It returns how long the address is refused for, or 0.
func (f *failures) add(address string, now time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now.Sub(f.window) >= time.Minute {
		f.window, f.counts = now, map[string]int{}
	}
	if _, known := f.counts[address]; !known && len(f.counts) >= maxAddresses {
		address = ""
	}
	f.counts[address]++
	if f.counts[address] <= f.limit {
		return 0
	}
	return f.window.Add(time.Minute).Sub(now)
}
