package client

import (
	"context"
	"net/http"
)

// CreateToken makes a token. Its secret is in the answer alone.
func (c *Client) CreateToken(ctx context.Context, spec TokenSpec) (NewToken, error) {
	return do[NewToken](ctx, c, http.MethodPost, []string{"tokens"}, spec)
}

// Tokens lists the tokens, the oldest first.
func (c *Client) Tokens(ctx context.Context) ([]Token, error) {
	return whole[Token](ctx, c, "tokens")
}

// RevokeToken ends a token by its id. Revoking it again changes nothing.
func (c *Client) RevokeToken(ctx context.Context, id string) error {
	return remove(ctx, c, "tokens", id)
}

// Whoami tells whose the client's token is, and what it may do.
func (c *Client) Whoami(ctx context.Context) (Identity, error) {
	return get[Identity](ctx, c, "whoami")
}
