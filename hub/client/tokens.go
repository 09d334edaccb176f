package client

import (
	"context"
	"net/http"
	"net/url"
)

// CreateToken makes a token. Its secret is in the answer alone.
func (c *Client) CreateToken(ctx context.Context, spec TokenSpec) (token NewToken, err error) {
	return token, c.call(ctx, http.MethodPost, "tokens", nil, spec, &token)
}

// Tokens lists the tokens, the oldest first.
func (c *Client) Tokens(ctx context.Context) ([]Token, error) {
	return whole[Token](ctx, c, "tokens")
}

// RevokeToken ends a token by its id. Revoking it again changes nothing.
func (c *Client) RevokeToken(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "tokens/"+url.PathEscape(id), nil, nil, nil)
}

// Whoami tells whose the client's token is, and what it may do.
func (c *Client) Whoami(ctx context.Context) (Identity, error) {
	return get[Identity](ctx, c, "whoami")
}
