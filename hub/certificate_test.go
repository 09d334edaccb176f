package hub_test

import (
	"crypto/tls"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub"
)

func TestTLS(t *testing.T) {
	cert, key, pool := hub.WritePair(t, t.TempDir(), 1)
	c := config(t)
	c.TLSCert, c.TLSKey = cert, key
	h, _ := serve(t, c)
	require.Regexp(t, `^https://127\.0\.0\.1:\d+$`, h.URL())
	trusting := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}}
	res, err := trusting.Get(h.URL() + "/healthz")
	require.NoError(t, err)
	_ = res.Body.Close()
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.NotEmpty(t, res.Header.Get("Strict-Transport-Security"))
	require.Equal(t, 1, res.ProtoMajor, "agents' WebSockets need HTTP/1.1")

	_, err = tls.Dial("tcp", h.URL()[len("https://"):], &tls.Config{RootCAs: pool, MaxVersion: tls.VersionTLS11})
	require.Error(t, err)
}

func TestTLSAndListenersThatAreRefused(t *testing.T) {
	cert, key, _ := hub.WritePair(t, t.TempDir(), 1)
	for name, change := range map[string]func(*hub.Config){
		"beyond loopback without TLS": func(c *hub.Config) { c.Listen = "0.0.0.0:0" },
		"a certificate without a key": func(c *hub.Config) { c.TLSCert = cert },
		"no certificate":              func(c *hub.Config) { c.TLSCert, c.TLSKey = key, cert },
		"a public URL in plain HTTP":  func(c *hub.Config) { c.PublicURL = "http://hub.example.com" },
	} {
		t.Run(name, func(t *testing.T) {
			c := config(t)
			change(&c)
			_, err := hub.Open(t.Context(), c)
			require.ErrorIs(t, err, hub.ErrConfig)
		})
	}
	c := config(t)
	c.Listen, c.TLSCert, c.TLSKey = "0.0.0.0:0", cert, key
	h, err := hub.Open(t.Context(), c)
	require.NoError(t, err, "with TLS it may listen anywhere")
	require.NoError(t, h.Close())
}
