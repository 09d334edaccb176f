package docker

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/connhelper"
	"github.com/docker/docker/client"
	"github.com/docker/go-connections/tlsconfig"
)

// address is where the engine is and how to talk to it.
type address struct {
	host       string
	certPath   string
	skipVerify bool
}

// resolve takes the environment into account where the configuration names no
// host, in the way of Docker's own programs.
func resolve(c Config) address {
	a := address{host: c.Host, certPath: c.CertPath, skipVerify: c.SkipVerify}
	if a.host != "" {
		return a
	}
	a.host = os.Getenv(client.EnvOverrideHost)
	if a.host == "" {
		a.host = client.DefaultDockerHost
	}
	verify := os.Getenv(client.EnvTLSVerify) != ""
	if a.certPath == "" {
		a.certPath = os.Getenv(client.EnvOverrideCertPath)
		a.skipVerify = a.skipVerify || a.certPath != "" && !verify
		if a.certPath == "" && verify {
			a.certPath = config.Dir()
		}
	}
	return a
}

// local says whether the engine shares this machine's file system, as far as
// its address tells.
func (a address) local() bool { return strings.HasPrefix(a.host, "unix://") }

// connect makes a client. Nothing is sent yet; the API version is negotiated
// with the first call.
func connect(a address) (*client.Client, error) {
	// Launches come in bursts: without idle connections in number each call
	// would dial, which over TLS or ssh costs more than the call itself.
	transport := &http.Transport{MaxIdleConns: 64, MaxIdleConnsPerHost: 32, IdleConnTimeout: 30 * time.Second}
	options := []client.Opt{
		client.WithHTTPClient(&http.Client{Transport: transport, CheckRedirect: client.CheckRedirect}),
		client.WithAPIVersionNegotiation(),
	}
	helper, err := connhelper.GetConnectionHelper(a.host)
	if err != nil {
		return nil, fmt.Errorf("docker: host %q: %w", a.host, err)
	}
	if helper != nil {
		options = append(options, client.WithHost(helper.Host), client.WithDialContext(helper.Dialer))
	} else {
		options = append(options, client.WithHost(a.host))
	}
	if a.certPath != "" {
		if transport.TLSClientConfig, err = clientTLS(a); err != nil {
			return nil, fmt.Errorf("docker: certificates in %s: %w", a.certPath, err)
		}
	}
	c, err := client.NewClientWithOpts(options...)
	if err != nil {
		return nil, fmt.Errorf("docker: host %q: %w", a.host, err)
	}
	return c, nil
}

func clientTLS(a address) (*tls.Config, error) {
	return tlsconfig.Client(tlsconfig.Options{
		CAFile:             filepath.Join(a.certPath, "ca.pem"),
		CertFile:           filepath.Join(a.certPath, "cert.pem"),
		KeyFile:            filepath.Join(a.certPath, "key.pem"),
		InsecureSkipVerify: a.skipVerify,
		ExclusiveRootPools: true,
	})
}
