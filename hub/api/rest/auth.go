package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/slipway-ci/slipway/hub/api/problem"
	"github.com/slipway-ci/slipway/hub/edge"
	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/tokens"
)

// authenticate lets through who has at least the role that the route needs.
func (s *Server) authenticate(ctx huma.Context, next func(huma.Context)) {
	r, w := humago.Unwrap(ctx)
	token, good := s.identify(w, r)
	if !good {
		return
	}
	who := Caller{Token: token, Address: s.ClientIP(r), RequestID: r.Header.Get(problem.HeaderRequestID)}
	r = r.WithContext(context.WithValue(r.Context(), callerKey{}, who))
	rule := ruleOf(ctx.Operation())
	if !token.Role.Covers(rule.least) {
		p := forbidden(rule.least, token.Role)
		s.record(r, ctx.Operation(), &Deed{}, p.Status, p)
		p.Write(w, r)
		return
	}
	if what := s.Missing[rule.noun]; what != "" {
		NotConfigured(what).Write(w, r)
		return
	}
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		next(humago.NewContext(ctx.Operation(), r, w))
		return
	}
	s.audited(ctx.Operation(), w, r, next)
}

// identify finds whose the request is, or answers why it is refused. A good token is
// never refused for what others at its address do.
func (s *Server) identify(w http.ResponseWriter, r *http.Request) (token queue.Token, good bool) {
	scheme, text, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	err := queue.ErrUnauthorized
	if strings.EqualFold(scheme, "bearer") {
		token, err = s.Queue.Authenticate(r.Context(), strings.TrimSpace(text), tokens.Admin, tokens.API)
	}
	if err == nil {
		return token, true
	}
	p := s.refusal(err)
	if p.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
		if wait := s.failures.Add(s.ClientIP(r), time.Now()); wait > 0 {
			edge.TooManyFailures(w, r, wait)
			return queue.Token{}, false
		}
	}
	p.Write(w, r)
	return queue.Token{}, false
}

func (s *Server) refusal(err error) *problem.Problem {
	switch {
	case errors.Is(err, queue.ErrUnauthorized):
		return problem.New(http.StatusUnauthorized, "unauthorized", "an API token or admin token is needed: Authorization: Bearer sf_api_… or sf_adm_…")
	case errors.Is(err, queue.ErrTokenRevoked):
		return problem.New(http.StatusUnauthorized, "token-revoked", "this token was revoked")
	case errors.Is(err, queue.ErrTokenExpired):
		return problem.New(http.StatusUnauthorized, "token-expired", "this token has expired")
	case errors.Is(err, context.Canceled):
		return Stopping()
	}
	s.Logger.Error("authentication failed", "err", err)
	return problem.New(http.StatusInternalServerError, "internal", "internal error: see the hub's log")
}

func forbidden(least, has queue.Role) *problem.Problem {
	return problem.New(http.StatusForbidden, "forbidden", fmt.Sprintf("this needs a token with the role %s, and this one has %s", least, has))
}

// Require lets requests with at least this role through to next, for routes of the
// hub beside this API. What it refuses is answered as here.
func (s *Server) Require(least queue.Role, next http.Handler) http.Handler {
	return named(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch token, good := s.identify(w, r); {
		case !good:
		case !token.Role.Covers(least):
			forbidden(least, token.Role).Write(w, r)
		default:
			next.ServeHTTP(w, r)
		}
	}))
}

// WhileGood returns a context that ends when the token of ctx is revoked or
// expires, for answers that go on and on. The caller calls stop.
func (s *Server) WhileGood(ctx context.Context) (good context.Context, stop func()) {
	token := CallerOf(ctx).Token
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
