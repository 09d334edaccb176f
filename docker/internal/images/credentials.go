package images

import (
	"context"
	"encoding/base64"
	"errors"
	"net/url"
	"strconv"
	"strings"

	"github.com/docker/cli/cli/config"
	"github.com/docker/docker/api/types/registry"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/docker/internal/fault"
)

// credentials tells, in the form of the engine's API, the launch's own credential where
// it is for this registry, and else what the Docker config file, or the helper that it
// names, has for it. Nothing is empty.
func (i *Images) credentials(ctx context.Context, own *backend.Credential, domain string) (string, error) {
	if own != nil && (own.Registry == "" || registryDomain(own.Registry) == domain) {
		return ownCredential(own, domain)
	}
	type answer struct {
		auth string
		err  error
	}
	answers := make(chan answer, 1)
	// A credential helper is a program that may ask somebody and wait.
	go func() {
		auth, err := lookUpCredentials(i.config.Dir, domain)
		answers <- answer{auth, err}
	}()
	select {
	case a := <-answers:
		return a.auth, a.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func lookUpCredentials(dir, domain string) (string, error) {
	file, err := config.Load(dir)
	if err != nil {
		return "", err
	}
	found, err := file.GetAuthConfig(domain)
	if err != nil {
		return "", err
	}
	auth := registry.AuthConfig{
		Username: found.Username, Password: found.Password, Auth: found.Auth,
		ServerAddress: found.ServerAddress, IdentityToken: found.IdentityToken, RegistryToken: found.RegistryToken,
	}
	if auth == (registry.AuthConfig{ServerAddress: auth.ServerAddress}) {
		return "", nil
	}
	return registry.EncodeAuthConfig(auth)
}

func ownCredential(own *backend.Credential, domain string) (string, error) {
	server := domain
	if domain == hub {
		server = registryOfHub
	}
	return registry.EncodeAuthConfig(registry.AuthConfig{Username: own.Username, Password: own.Password, ServerAddress: server})
}

// Docker Hub is "docker.io" in names of images, and goes by this address in
// credentials. Source: github.com/moby/moby/blob/master/registry/config.go.
const (
	hub           = "docker.io"
	registryOfHub = "https://index.docker.io/v1/"
)

// registryDomain reads the registry of a credential as people write it, with a
// scheme or a path or not, as the domain that names of images have.
func registryDomain(text string) string {
	if _, rest, ok := strings.Cut(text, "://"); ok {
		text = rest
	}
	domain, _, _ := strings.Cut(strings.ToLower(text), "/")
	switch domain {
	case "index.docker.io", "registry-1.docker.io":
		return hub
	}
	return domain
}

// hide takes the credential out of an error's text: a registry says what it
// likes, and may say what it was sent. The error's class is kept.
func hide(c *backend.Credential, err error) error {
	if c == nil || c.Password == "" {
		return err
	}
	pair := []byte(c.Username + ":" + c.Password)
	text := err.Error()
	for _, secret := range []string{
		base64.StdEncoding.EncodeToString(pair), base64.URLEncoding.EncodeToString(pair), base64.RawStdEncoding.EncodeToString(pair),
		c.Password, strings.Trim(strconv.Quote(c.Password), `"`), url.QueryEscape(c.Password), url.PathEscape(c.Password),
	} {
		text = strings.ReplaceAll(text, secret, "[redacted]")
	}
	if text == err.Error() {
		return err
	}
	for _, sentinel := range []error{backend.ErrExhausted, backend.ErrInvalid, backend.ErrUnavailable, backend.ErrRefused} {
		if errors.Is(err, sentinel) {
			return fault.As(sentinel, errors.New(strings.TrimPrefix(text, sentinel.Error()+": ")))
		}
	}
	return errors.New(text)
}
