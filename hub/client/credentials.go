package client

import (
	"context"
	"net/http"
)

// Credentials lists the registry credentials, without their passwords.
func (c *Client) Credentials(ctx context.Context) ([]Credential, error) {
	return whole[Credential](ctx, c, "credentials")
}

// SetCredential makes a credential, or replaces it.
func (c *Client) SetCredential(ctx context.Context, name string, spec CredentialSpec) (Credential, error) {
	return do[Credential](ctx, c, http.MethodPut, []string{"credentials", name}, spec)
}

// DeleteCredential deletes a credential. ErrConflict: a scale set uses it.
func (c *Client) DeleteCredential(ctx context.Context, name string) error {
	return remove(ctx, c, "credentials", name)
}
