package docker

import (
	"context"

	"github.com/docker/cli/cli/config"
	"github.com/docker/docker/api/types/registry"
)

// credentials tells what the Docker config file, or the helper that it names,
// has for a registry, in the form of the engine's API. Nothing is empty.
func (b *Backend) credentials(ctx context.Context, domain string) (string, error) {
	type answer struct {
		auth string
		err  error
	}
	answers := make(chan answer, 1)
	// A credential helper is a program that may ask somebody and wait.
	go func() {
		auth, err := lookUpCredentials(b.config.ConfigDir, domain)
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
