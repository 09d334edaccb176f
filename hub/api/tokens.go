package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/tokens"
)

func (s *Server) tokenRoutes() {
	register(s, admin("token"), answering(http.StatusCreated, operation("create-token", http.MethodPost, "tokens", "Make a token; it is shown this once",
		http.StatusUnprocessableEntity)), s.createToken)
	register(s, admin("token"), operation("list-tokens", http.MethodGet, "tokens", "List tokens, without their secrets"), s.listTokens)
	revoke := operation("revoke-token", http.MethodDelete, "tokens/{id}", "Revoke a token", http.StatusNotFound, http.StatusConflict)
	revoke.Description = "The last token with the role admin is kept (409 last-admin): make another one first."
	register(s, admin("token"), answering(http.StatusNoContent, revoke), s.revokeToken)
	register(s, viewer("token"), operation("whoami", http.MethodGet, "whoami", "Tell whose the token of the request is, and what it may do"), s.whoami)
}

// kinds are the names of the kinds of tokens in this API.
var kinds = map[string]tokens.Kind{
	"provisioner": tokens.Provisioner, "registration": tokens.ManualRegistration, "admin": tokens.Admin, "api": tokens.API,
}

func kindName(kind tokens.Kind) string {
	for name, k := range kinds {
		if k == kind {
			return name
		}
	}
	return string(kind)
}

func tokenOf(t queue.Token) Token {
	role := string(t.Role)
	if t.Kind != tokens.API {
		role = "" // an admin token's is its kind
	}
	return Token{
		ID: t.ID, Kind: kindName(t.Kind), Role: role, Prefix: t.Prefix, Name: t.Name, API: string(t.Generation), Provisioner: t.Provisioner,
		CreatedAt: t.CreatedAt, ExpiresAt: orNull(t.ExpiresAt), RevokedAt: orNull(t.RevokedAt),
	}
}

type newToken struct {
	CacheControl string `header:"Cache-Control"`
	Body         NewToken
}

func (s *Server) createToken(ctx context.Context, in *struct{ Body TokenSpec }) (*newToken, error) {
	var (
		token  queue.Token
		secret tokens.Token
	)
	err := s.store(func() (err error) {
		token, secret, err = s.Queue.CreateToken(ctx, queue.TokenSpec{
			Kind: kinds[in.Body.Kind], Role: queue.Role(in.Body.Role), Name: in.Body.Name, Generation: queue.Generation(in.Body.API),
			Lifetime: time.Duration(in.Body.ExpiresInSeconds) * time.Second,
		})
		return err
	})
	if err != nil {
		return nil, s.problem(err)
	}
	d, made := deedOf(ctx), tokenOf(token)
	d.object = "token/" + token.ID
	d.set("kind", made.Kind)
	d.set("role", made.Role)
	d.set("name", made.Name)
	d.set("api", made.API)
	d.set("expires_in_seconds", in.Body.ExpiresInSeconds)
	d.tell("token-created", d.object, describe(token))
	return &newToken{"no-store", NewToken{Token: made, Secret: secret.Reveal()}}, nil
}

// describe is a token in an event.
func describe(t queue.Token) string {
	text := kindName(t.Kind) + " token"
	if t.Kind == tokens.API {
		text += " with role " + string(t.Role)
	}
	if t.Name != "" {
		text += fmt.Sprintf(" %q", t.Name)
	}
	return text
}

type tokenList struct {
	Body list[Token]
}

func (s *Server) listTokens(ctx context.Context, in *pageInput) (*tokenList, error) {
	known, err := s.Queue.Tokens(ctx)
	if err != nil {
		return nil, s.problem(err)
	}
	items := make([]Token, len(known))
	for i, t := range known {
		items[i] = tokenOf(t)
	}
	return &tokenList{page(items, func(t Token) string { return t.ID }, in)}, nil
}

func (s *Server) revokeToken(ctx context.Context, in *struct {
	ID string `path:"id"`
}) (*struct{}, error) {
	before, err := s.Queue.Token(ctx, in.ID)
	if err == nil {
		err = s.store(func() error {
			_, err := s.Queue.RevokeTokenKeepingAdmin(ctx, in.ID)
			return err
		})
	}
	if err != nil {
		return nil, s.problem(err)
	}
	d := deedOf(ctx)
	d.detail = describe(before)
	if before.RevokedAt.IsZero() {
		d.tell("token-revoked", "token/"+before.ID, d.detail)
	}
	return nil, nil
}

type identity struct {
	Body Identity
}

func (s *Server) whoami(ctx context.Context, _ *struct{}) (*identity, error) {
	t := callerOf(ctx).token
	return &identity{Identity{
		TokenID: t.ID, Kind: kindName(t.Kind), Name: t.Name, Role: string(t.Role), ExpiresAt: orNull(t.ExpiresAt),
	}}, nil
}
