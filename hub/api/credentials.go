package api

import (
	"context"
	"net/http"

	"github.com/slipway-ci/slipway/hub/api/rest"
	"github.com/slipway-ci/slipway/hub/scalesets"
)

func (s *Server) credentialRoutes() {
	rest.Register(s.Server, rest.Viewer("credential"), rest.Operation("list-credentials", http.MethodGet, "credentials", "List the registry credentials, without their passwords"), s.listCredentials)
	rest.Register(s.Server, rest.Admin("credential"), rest.Operation("set-credential", http.MethodPut, "credentials/{name}", "Make a registry credential, or replace it",
		http.StatusConflict, http.StatusUnprocessableEntity), s.setCredential)
	rest.Register(s.Server, rest.Admin("credential"), rest.Answering(http.StatusNoContent, rest.Operation("delete-credential", http.MethodDelete, "credentials/{name}",
		"Delete a registry credential that no scale set uses", http.StatusNotFound, http.StatusConflict)), s.deleteCredential)
}

type credentialList struct {
	Body rest.List[Credential]
}

func credentialOf(c scalesets.RegistryCredential) Credential {
	return Credential{Name: c.Name, Registry: c.Registry, Username: c.Username, CreatedAt: c.CreatedAt, UpdatedAt: c.UpdatedAt, Problem: c.Problem}
}

func (s *Server) listCredentials(ctx context.Context, in *rest.PageInput) (*credentialList, error) {
	all, err := s.ScaleSets.Credentials(ctx)
	if err != nil {
		return nil, s.fault(err)
	}
	items := make([]Credential, len(all))
	for i, c := range all {
		items[i] = credentialOf(c)
	}
	return &credentialList{rest.Page(items, func(c Credential) string { return c.Name }, in)}, nil
}

type oneCredential struct {
	Body Credential
}

func (s *Server) setCredential(ctx context.Context, in *struct {
	Name string `path:"name" maxLength:"255"`
	Body CredentialSpec
}) (*oneCredential, error) {
	var c scalesets.RegistryCredential
	err := s.Store(func() (err error) {
		c, err = s.ScaleSets.SetCredential(ctx, in.Name, scalesets.CredentialSpec{
			Registry: in.Body.Registry, Username: in.Body.Username, Password: in.Body.Password,
		})
		return err
	})
	if err != nil {
		return nil, s.fault(err)
	}
	d := rest.DeedOf(ctx)
	d.Set("registry", c.Registry)
	d.Set("username", c.Username)
	d.Detail = "with a new password"
	return &oneCredential{credentialOf(c)}, nil
}

func (s *Server) deleteCredential(ctx context.Context, in *struct {
	Name string `path:"name" maxLength:"255"`
}) (*struct{}, error) {
	return nil, s.fault(s.Store(func() error { return s.ScaleSets.DeleteCredential(ctx, in.Name) }))
}
