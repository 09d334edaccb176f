package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/slipway-ci/slipway/hub/api/rest"
	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/tokens"
)

func (s *Server) tokenRoutes() {
	rest.Register(s.Server, rest.Admin("token"), rest.Answering(http.StatusCreated, rest.Operation("create-token", http.MethodPost, "tokens", "Make a token; it is shown this once",
		http.StatusUnprocessableEntity)), s.createToken)
	rest.Register(s.Server, rest.Admin("token"), rest.Operation("list-tokens", http.MethodGet, "tokens", "List tokens, without their secrets"), s.listTokens)
	revoke := rest.Operation("revoke-token", http.MethodDelete, "tokens/{id}", "Revoke a token", http.StatusNotFound, http.StatusConflict)
	revoke.Description = "The last token with the role admin is kept (409 last-admin): make another one first."
	rest.Register(s.Server, rest.Admin("token"), rest.Answering(http.StatusNoContent, revoke), s.revokeToken)
	rest.Register(s.Server, rest.Viewer("token"), rest.Operation("whoami", http.MethodGet, "whoami", "Tell whose the token of the request is, and what it may do"), s.whoami)
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
	err := s.Store(func() (err error) {
		token, secret, err = s.Queue.CreateToken(ctx, queue.TokenSpec{
			Kind: kinds[in.Body.Kind], Role: queue.Role(in.Body.Role), Name: in.Body.Name, Generation: queue.Generation(in.Body.API),
			Lifetime: time.Duration(in.Body.ExpiresInSeconds) * time.Second,
		})
		return err
	})
	if err != nil {
		return nil, s.fault(err)
	}
	d, made := rest.DeedOf(ctx), tokenOf(token)
	d.Object = "token/" + token.ID
	d.Set("kind", made.Kind)
	d.Set("role", made.Role)
	d.Set("name", made.Name)
	d.Set("api", made.API)
	d.Set("expires_in_seconds", in.Body.ExpiresInSeconds)
	d.Tell("token-created", d.Object, describe(token))
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
	Body rest.List[Token]
}

func (s *Server) listTokens(ctx context.Context, in *rest.PageInput) (*tokenList, error) {
	known, err := s.Queue.Tokens(ctx)
	if err != nil {
		return nil, s.fault(err)
	}
	items := make([]Token, len(known))
	for i, t := range known {
		items[i] = tokenOf(t)
	}
	return &tokenList{rest.Page(items, func(t Token) string { return t.ID }, in)}, nil
}

func (s *Server) revokeToken(ctx context.Context, in *struct {
	ID string `path:"id"`
}) (*struct{}, error) {
	before, err := s.Queue.Token(ctx, in.ID)
	if err == nil {
		err = s.Store(func() error {
			_, err := s.Queue.RevokeTokenKeepingAdmin(ctx, in.ID)
			return err
		})
	}
	if err != nil {
		return nil, s.fault(err)
	}
	d := rest.DeedOf(ctx)
	d.Detail = describe(before)
	if before.RevokedAt.IsZero() {
		d.Tell("token-revoked", "token/"+before.ID, d.Detail)
	}
	return nil, nil
}

type identity struct {
	Body Identity
}

func (s *Server) whoami(ctx context.Context, _ *struct{}) (*identity, error) {
	t := rest.CallerOf(ctx).Token
	return &identity{Identity{
		TokenID: t.ID, Kind: kindName(t.Kind), Name: t.Name, Role: string(t.Role), ExpiresAt: orNull(t.ExpiresAt),
	}}, nil
}
