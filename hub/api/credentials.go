package api

import (
	"context"
	"net/http"

	"github.com/slipway-ci/slipway/hub/scalesets"
)

func (s *Server) credentialRoutes() {
	register(s, viewer("credential"), operation("list-credentials", http.MethodGet, "credentials", "List the registry credentials, without their passwords"), s.listCredentials)
	register(s, admin("credential"), operation("set-credential", http.MethodPut, "credentials/{name}", "Make a registry credential, or replace it",
		http.StatusConflict, http.StatusUnprocessableEntity), s.setCredential)
	register(s, admin("credential"), answering(http.StatusNoContent, operation("delete-credential", http.MethodDelete, "credentials/{name}",
		"Delete a registry credential that no scale set uses", http.StatusNotFound, http.StatusConflict)), s.deleteCredential)
}

type credentialList struct {
	Body list[Credential]
}

func credentialOf(c scalesets.RegistryCredential) Credential {
	return Credential{Name: c.Name, Registry: c.Registry, Username: c.Username, CreatedAt: c.CreatedAt, UpdatedAt: c.UpdatedAt}
}

func (s *Server) listCredentials(ctx context.Context, in *pageInput) (*credentialList, error) {
	all, err := s.ScaleSets.Credentials(ctx)
	if err != nil {
		return nil, s.problem(err)
	}
	items := make([]Credential, len(all))
	for i, c := range all {
		items[i] = credentialOf(c)
	}
	return &credentialList{page(items, func(c Credential) string { return c.Name }, in)}, nil
}

type oneCredential struct {
	Body Credential
}

func (s *Server) setCredential(ctx context.Context, in *struct {
	Name string `path:"name" maxLength:"255"`
	Body CredentialSpec
}) (*oneCredential, error) {
	var c scalesets.RegistryCredential
	err := s.store(func() (err error) {
		c, err = s.ScaleSets.SetCredential(ctx, in.Name, scalesets.CredentialSpec{
			Registry: in.Body.Registry, Username: in.Body.Username, Password: in.Body.Password,
		})
		return err
	})
	if err != nil {
		return nil, s.problem(err)
	}
	d := deedOf(ctx)
	d.set("registry", c.Registry)
	d.set("username", c.Username)
	d.detail = "with a new password"
	return &oneCredential{credentialOf(c)}, nil
}

func (s *Server) deleteCredential(ctx context.Context, in *struct {
	Name string `path:"name" maxLength:"255"`
}) (*struct{}, error) {
	return nil, s.problem(s.store(func() error { return s.ScaleSets.DeleteCredential(ctx, in.Name) }))
}
