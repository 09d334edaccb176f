package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/tokens"
)

// authenticate lets through who has at least the role that the route needs.
func (s *Server) authenticate(ctx huma.Context, next func(huma.Context)) {
	r, w := humago.Unwrap(ctx)
	token, refusal := s.identify(w, r)
	if refusal != nil {
		writeProblem(w, r, refusal)
		return
	}
	who := caller{token: token, address: s.ClientIP(r), requestID: r.Header.Get(headerRequest)}
	r = r.WithContext(context.WithValue(r.Context(), callerKey{}, who))
	rule := ruleOf(ctx.Operation())
	if !token.Role.Covers(rule.least) {
		p := newProblem(http.StatusForbidden, "forbidden",
			fmt.Sprintf("this needs a token with the role %s, and this one has %s", rule.least, token.Role))
		s.record(r, ctx.Operation(), &deed{}, p.Status, p)
		writeProblem(w, r, p)
		return
	}
	if what := s.missing(rule.noun); what != "" {
		writeProblem(w, r, notConfigured(what))
		return
	}
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		next(humago.NewContext(ctx.Operation(), r, w))
		return
	}
	s.audited(ctx.Operation(), w, r, next)
}

// identify finds whose the request is, or why it is refused. A good token is never
// refused for what others at its address do.
func (s *Server) identify(w http.ResponseWriter, r *http.Request) (queue.Token, *Problem) {
	scheme, text, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	err := queue.ErrUnauthorized
	var token queue.Token
	if strings.EqualFold(scheme, "bearer") {
		token, err = s.Queue.Authenticate(r.Context(), strings.TrimSpace(text), tokens.Admin, tokens.API)
	}
	if err == nil {
		return token, nil
	}
	p := s.refusal(err)
	if p.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
		if wait := s.failures.add(network(s.ClientIP(r)), time.Now()); wait > 0 {
			retryAfter(w, int(wait/time.Second)+1)
			p = tooManyFailures()
		}
	}
	return queue.Token{}, p
}

func tooManyFailures() *Problem {
	return newProblem(http.StatusTooManyRequests, "too-many-failures", "too many failed attempts from this address")
}

func (s *Server) refusal(err error) *Problem {
	switch {
	case errors.Is(err, queue.ErrUnauthorized):
		return newProblem(http.StatusUnauthorized, "unauthorized", "an API token or admin token is needed: Authorization: Bearer sf_api_… or sf_adm_…")
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

// Require lets requests with at least this role through to next, for routes of the
// hub beside this API. What it refuses is answered as here.
func (s *Server) Require(least queue.Role, next http.Handler) http.Handler {
	return named(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, refusal := s.identify(w, r)
		if refusal == nil && !token.Role.Covers(least) {
			refusal = newProblem(http.StatusForbidden, "forbidden",
				fmt.Sprintf("this needs a token with the role %s, and this one has %s", least, token.Role))
		}
		if refusal != nil {
			writeProblem(w, r, refusal)
			return
		}
		next.ServeHTTP(w, r)
	}))
}

// whileGood returns a context that ends when the token of ctx is revoked or
// expires, for answers that go on and on. The caller calls stop.
func (s *Server) whileGood(ctx context.Context) (good context.Context, stop func()) {
	token := callerOf(ctx).token
	sub := s.Queue.Subscribe(queue.TopicToken(token.ID))
	var cancel context.CancelFunc
	if token.ExpiresAt.IsZero() {
		good, cancel = context.WithCancel(ctx)
	} else {
		good, cancel = context.WithDeadline(ctx, token.ExpiresAt)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer cancel()
		for {
			// Subscribed first, then looked: a revocation in between is seen.
			now, err := s.Queue.Token(good, token.ID)
			if err != nil || !now.Good(time.Now()) {
				return
			}
			select {
			case <-sub.C:
			case <-good.Done():
				return
			}
		}
	}()
	return good, func() {
		cancel()
		<-done
		sub.Close()
	}
}
