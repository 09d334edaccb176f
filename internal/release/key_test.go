package release_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/internal/release"
)

func TestKeyFiles(t *testing.T) {
	private, public := keys(t)
	dir := t.TempDir()
	secret, open := filepath.Join(dir, "update.key"), filepath.Join(dir, "update-key.pub")
	require.NoError(t, release.WritePrivateKey(secret, private))
	require.NoError(t, release.WritePublicKey(open, public))

	info, err := os.Stat(secret)
	require.NoError(t, err)
	if runtime.GOOS != "windows" {
		require.Equal(t, fs.FileMode(0o600), info.Mode().Perm())
	}
	read, err := release.ReadPrivateKey(secret)
	require.NoError(t, err)
	require.True(t, read.Public().Equal(public))
	readPublic, err := release.ReadPublicKey(open)
	require.NoError(t, err)
	require.True(t, readPublic.Equal(public))
	require.Regexp(t, `^[0-9a-f]{16}$`, readPublic.ID())

	require.ErrorIs(t, release.WritePrivateKey(secret, private), fs.ErrExist, "a private key is never written over")
	require.ErrorIs(t, release.WritePrivateKey(filepath.Join(dir, "x"), release.PrivateKey{}), release.ErrKey)
	require.ErrorIs(t, release.WritePublicKey(filepath.Join(dir, "x"), release.PublicKey{}), release.ErrKey)
	require.NoError(t, os.Chmod(secret, 0o644))
	if runtime.GOOS != "windows" {
		_, err = release.ReadPrivateKey(secret)
		require.ErrorContains(t, err, "chmod 600")
	}

	text, err := os.ReadFile(secret)
	require.NoError(t, err)
	hidden := strings.Fields(string(text))[1]
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		printed := fmt.Sprintf(verb+" "+verb, private, struct{ K release.PrivateKey }{private})
		require.NotContains(t, printed, hidden)
		require.Contains(t, printed, public.ID())
		require.NotContains(t, printed, "115 108", "no bytes")
	}
}

func TestParsePublicKey(t *testing.T) {
	_, public := keys(t)
	key, err := release.ParsePublicKey([]byte("# of the build machine\n\n" + public.Text()))
	require.NoError(t, err)
	require.True(t, key.Equal(public))
	require.False(t, release.PublicKey{}.Equal(release.PublicKey{}), "no key equals no key")
	require.Empty(t, release.PublicKey{}.Text())

	private, _ := keys(t)
	dir := t.TempDir()
	secret := filepath.Join(dir, "k")
	require.NoError(t, release.WritePrivateKey(secret, private))
	_, err = release.ReadPublicKey(secret)
	require.ErrorIs(t, err, release.ErrKey, "a private key is not taken for a public one")
	text, err2 := os.ReadFile(secret)
	require.NoError(t, err2)
	require.NotContains(t, err.Error(), strings.Fields(string(text))[1])

	for _, bad := range []string{"", "#\n", public.Text() + public.Text(), public.Text()[:40], strings.Replace(public.Text(), "public", "pubic", 1), strings.Repeat("#", 5000), "slipway-update-public-key AAAA\n"} {
		_, err := release.ParsePublicKey([]byte(bad))
		require.ErrorIs(t, err, release.ErrKey, "%q", bad)
	}
}
