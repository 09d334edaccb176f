package hub

import (
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"
)

// A renewed certificate is served without a restart; a half-written one is not.
func TestARenewedCertificateIsTakenOver(t *testing.T) {
	dir := t.TempDir()
	serial := int64(0)
	write := func() {
		serial++
		cert, key, _ := WritePair(t, dir, serial)
		later := time.Now().Add(time.Duration(serial) * time.Minute) // files of one moment look alike
		require.NoError(t, errors.Join(os.Chtimes(cert, later, later), os.Chtimes(key, later, later)))
	}
	write()
	c, err := openCertificate(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), hclog.NewNullLogger())
	require.NoError(t, err)
	serves := func() *tls.Certificate {
		c.looked = time.Time{} // the next look is due
		return c.get()
	}
	first := serves()
	require.Same(t, first, serves())

	require.NoError(t, os.WriteFile(filepath.Join(dir, "cert.pem"), []byte("half"), 0o600))
	require.Same(t, first, serves(), "the one before is served on")

	write()
	require.NotEqual(t, first.Certificate, serves().Certificate)
}
