package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/tokens"
)

func (s *server) tokenRoutes() {
	create := operation("create-token", http.MethodPost, "tokens", "Make a token; it is shown this once", http.StatusUnprocessableEntity)
	create.DefaultStatus = http.StatusCreated
	huma.Register(s.huma, create, s.createToken)
	huma.Register(s.huma, operation("list-tokens", http.MethodGet, "tokens", "List tokens, without their secrets"), s.listTokens)
	revoke := operation("revoke-token", http.MethodDelete, "tokens/{id}", "Revoke a token", http.StatusNotFound)
	revoke.DefaultStatus = http.StatusNoContent
	huma.Register(s.huma, revoke, s.revokeToken)
}

// kinds are the names of the kinds of tokens in this API.
var kinds = map[string]tokens.Kind{
	"provisioner": tokens.Provisioner, "registration": tokens.ManualRegistration, "admin": tokens.Admin,
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
	return Token{
		ID: t.ID, Kind: kindName(t.Kind), Prefix: t.Prefix, Name: t.Name, API: string(t.Generation), Provisioner: t.Provisioner,
		CreatedAt: t.CreatedAt, ExpiresAt: orNull(t.ExpiresAt), RevokedAt: orNull(t.RevokedAt),
	}
}

type newToken struct {
	CacheControl string `header:"Cache-Control"`
	Body         NewToken
}

func (s *server) createToken(ctx context.Context, in *struct{ Body TokenSpec }) (*newToken, error) {
	token, secret, err := s.Queue.CreateToken(ctx, queue.TokenSpec{
		Kind: kinds[in.Body.Kind], Name: in.Body.Name, Generation: queue.Generation(in.Body.API),
		Lifetime: time.Duration(in.Body.ExpiresInSeconds) * time.Second,
	})
	if err != nil {
		return nil, s.problem(err)
	}
	return &newToken{"no-store", NewToken{Token: tokenOf(token), Secret: secret.Reveal()}}, nil
}

type tokenList struct {
	Body list[Token]
}

func (s *server) listTokens(ctx context.Context, _ *struct{}) (*tokenList, error) {
	known, err := s.Queue.Tokens(ctx)
	if err != nil {
		return nil, s.problem(err)
	}
	items := make([]Token, len(known))
	for i, t := range known {
		items[i] = tokenOf(t)
	}
	return &tokenList{listOf(items, "")}, nil
}

func (s *server) revokeToken(ctx context.Context, in *struct {
	ID string `path:"id"`
}) (*struct{}, error) {
	err := s.store(func() error {
		_, err := s.Queue.RevokeToken(ctx, in.ID)
		return err
	})
	return nil, s.problem(err)
}
