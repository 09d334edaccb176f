package docker_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/docker"
	"github.com/slipway-ci/slipway/internal/enginetest"
)

// authority makes certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	der, key := a.issue(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	a.cert, a.key = cert, key
	return a
}

// issue signs a certificate: the authority's own as long as it has none.
func (a *authority) issue(t *testing.T, c *x509.Certificate) ([]byte, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	c.Subject = pkix.Name{CommonName: "test"}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	require.NoError(t, err)
	return der, key
}

// folder writes ca.pem, cert.pem and key.pem of a new client.
func (a *authority) folder(t *testing.T) string {
	t.Helper()
	der, key := a.issue(t, &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	secret, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	dir := t.TempDir()
	for name, block := range map[string]*pem.Block{
		"ca.pem":   {Type: "CERTIFICATE", Bytes: a.cert.Raw},
		"cert.pem": {Type: "CERTIFICATE", Bytes: der},
		"key.pem":  {Type: "EC PRIVATE KEY", Bytes: secret},
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600))
	}
	return dir
}

// tlsEngine is the engine behind TLS in both directions; its address is tcp://.
// The engine's own certificate is by one authority, its clients' are by another.
func tlsEngine(t *testing.T, own, clients *authority) string {
	t.Helper()
	target, err := url.Parse("http://engine")
	require.NoError(t, err)
	forward := httputil.NewSingleHostReverseProxy(target)
	proxy := enginetest.NewProxy(t)
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", strings.TrimPrefix(proxy.Host, "unix://"))
	}}
	t.Cleanup(transport.CloseIdleConnections)
	forward.Transport, forward.FlushInterval = transport, -1
	server := httptest.NewUnstartedServer(forward)
	der, key := own.issue(t, &x509.Certificate{
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	})
	pool := x509.NewCertPool()
	pool.AddCert(clients.cert)
	server.TLS = &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		ClientCAs:    pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}
	server.Config.ErrorLog = quiet()
	server.StartTLS()
	t.Cleanup(server.Close)
	return "tcp://" + server.Listener.Addr().String()
}

func TestTLS(t *testing.T) {
	ca := newAuthority(t)
	host := tlsEngine(t, ca, ca)
	certs := ca.folder(t)
	try := func(t *testing.T, c docker.Config) error {
		c.Owner = "me"
		b, err := docker.New(c)
		require.NoError(t, err)
		defer b.Close()
		_, err = b.List(t.Context())
		return err
	}
	t.Run("configured", func(t *testing.T) {
		b := open(t, func(c *docker.Config) { c.Host, c.CertPath = host, certs })
		text, _ := output(t, b, shell(t, "echo over TLS"))
		require.Equal(t, "over TLS\n", text)
	})
	t.Run("from the environment", func(t *testing.T) {
		t.Setenv("DOCKER_HOST", host)
		t.Setenv("DOCKER_CERT_PATH", certs)
		t.Setenv("DOCKER_TLS_VERIFY", "1")
		require.NoError(t, try(t, docker.Config{}))
	})
	t.Run("another authority's engine", func(t *testing.T) {
		other := tlsEngine(t, newAuthority(t), ca)
		err := try(t, docker.Config{Host: other, CertPath: certs})
		require.ErrorIs(t, err, backend.ErrUnavailable)
		require.ErrorContains(t, err, "certificate")
	})
	t.Run("an engine that is not checked", func(t *testing.T) {
		require.NoError(t, try(t, docker.Config{Host: host, CertPath: certs, SkipVerify: true}))
	})
	t.Run("no certificate of ours", func(t *testing.T) {
		require.ErrorIs(t, try(t, docker.Config{Host: host, CertPath: newAuthority(t).folder(t), SkipVerify: true}), backend.ErrUnavailable)
	})
	t.Run("no TLS", func(t *testing.T) {
		require.Error(t, try(t, docker.Config{Host: host}))
	})
}

// Over ssh the engine is reached through the program ssh, here one that ends at
// the local socket.
func TestSSH(t *testing.T) {
	proxy := enginetest.NewProxy(t)
	dir := t.TempDir()
	self, err := os.Executable()
	require.NoError(t, err)
	require.NoError(t, os.Symlink(self, filepath.Join(dir, "ssh")))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("TEST_ENGINE_SOCKET", strings.TrimPrefix(proxy.Host, "unix://"))
	b := open(t, func(c *docker.Config) { c.Host = "ssh://somebody@host.example" })
	text, _ := output(t, b, shell(t, "echo over ssh"))
	require.Equal(t, "over ssh\n", text)
	require.NotEmpty(t, proxy.Seen())
}

// The version is the engine's where ours is newer: an engine refuses newer ones.
func TestVersionIsNegotiated(t *testing.T) {
	t.Parallel()
	proxy := enginetest.NewProxy(t)
	b := open(t, over(proxy))
	_, err := b.List(t.Context())
	require.NoError(t, err)
	version, err := enginetest.Engine(t).ServerVersion(t.Context())
	require.NoError(t, err)
	seen := proxy.Seen()
	require.Contains(t, seen[0], "/_ping")
	require.LessOrEqual(t, strings.Split(seen[1], "/")[1], "v"+version.APIVersion)
}
