package release_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/internal/release"
)

const program = "#!/bin/true\n"

func describe(t testing.TB) (release.Manifest, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "slipway-agent-linux-amd64")
	require.NoError(t, os.WriteFile(path, []byte(program), 0o755))
	m, err := release.Describe(path, "v1.4.0-rc.1", "linux", "amd64")
	require.NoError(t, err)
	return m, path
}

func keys(t testing.TB) (release.PrivateKey, release.PublicKey) {
	t.Helper()
	private, public, err := release.GenerateKey()
	require.NoError(t, err)
	return private, public
}

func TestSignedManifestHolds(t *testing.T) {
	m, path := describe(t)
	private, public := keys(t)
	require.ErrorIs(t, m.Verify(public), release.ErrSignature, "without a signature nothing is trusted")
	signed, err := release.Sign(m, private)
	require.NoError(t, err)
	require.NoError(t, signed.Verify(public))

	require.NoError(t, release.Write(path+".manifest", signed))
	read, err := release.Read(path + ".manifest")
	require.NoError(t, err)
	require.Equal(t, signed, read)
	require.NoError(t, read.Verify(public))
	require.NoError(t, read.Check(strings.NewReader(program)))
	require.NoError(t, read.For("1.4.0-rc.1", "linux", "amd64"))

	var copied bytes.Buffer
	require.NoError(t, read.Copy(&copied, strings.NewReader(program)))
	require.Equal(t, program, copied.String())

	_, other := keys(t)
	require.ErrorIs(t, read.Verify(other), release.ErrSignature)
	require.ErrorIs(t, read.Verify(release.PublicKey{}), release.ErrSignature, "no key trusts nothing")
	_, err = release.Sign(m, release.PrivateKey{})
	require.ErrorIs(t, err, release.ErrKey)
}

// Every field is under the signature.
func TestAlteredManifestIsRefused(t *testing.T) {
	m, _ := describe(t)
	private, public := keys(t)
	signed, err := release.Sign(m, private)
	require.NoError(t, err)
	for name, alter := range map[string]func(*release.Manifest){
		"version": func(m *release.Manifest) { m.Version = "v1.4.0" },
		"os":      func(m *release.Manifest) { m.OS = "darwin" },
		"arch":    func(m *release.Manifest) { m.Arch = "arm64" },
		"sha256":  func(m *release.Manifest) { m.SHA256 = strings.Repeat("0", 64) },
		"size":    func(m *release.Manifest) { m.Size++ },
		"signature": func(m *release.Manifest) {
			m.Signature = bytes.Clone(m.Signature)
			m.Signature[7] ^= 1
		},
	} {
		altered := signed
		alter(&altered)
		require.ErrorIs(t, altered.Verify(public), release.ErrSignature, name)
		again, err := release.Parse(altered.Text())
		require.NoError(t, err, name)
		require.ErrorIs(t, again.Verify(public), release.ErrSignature, name)
	}
	for _, bad := range []release.Manifest{
		{}, {Version: "dev", OS: "linux", Arch: "amd64", SHA256: m.SHA256, Size: 1}, {Version: m.Version, OS: "../x", Arch: "amd64", SHA256: m.SHA256, Size: 1},
		{Version: m.Version, OS: "linux", Arch: "amd64", SHA256: strings.ToUpper(m.SHA256), Size: 1}, {Version: m.Version, OS: "linux", Arch: "amd64", SHA256: m.SHA256},
		{Version: "v1.0.0\nos x", OS: "linux", Arch: "amd64", SHA256: m.SHA256, Size: 1},
	} {
		_, err := release.Sign(bad, private)
		require.ErrorIs(t, err, release.ErrManifest, "%+v", bad)
	}
}

func TestContentMustBeTheNamedOne(t *testing.T) {
	m, _ := describe(t)
	for _, other := range []string{"", program + "x", program[:len(program)-1], strings.Repeat("x", len(program))} {
		require.ErrorIs(t, m.Check(strings.NewReader(other)), release.ErrContent, "%q", other)
	}
	broken := errors.New("cut off")
	require.ErrorIs(t, m.Check(&failing{broken}), broken)
	require.ErrorIs(t, release.Manifest{}.Check(strings.NewReader("")), release.ErrManifest)
	for _, of := range [][3]string{{"v1.4.0", "linux", "amd64"}, {"v1.4.0-rc.1", "darwin", "amd64"}, {"v1.4.0-rc.1", "linux", "arm64"}} {
		require.ErrorIs(t, m.For(of[0], of[1], of[2]), release.ErrOther)
	}

	// More than it should be is not read to its end.
	endless := &counting{}
	require.ErrorIs(t, m.Check(endless), release.ErrContent)
	require.LessOrEqual(t, endless.n, m.Size+1)
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

type counting struct{ n int64 }

func (c *counting) Read(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

func TestParseTakesTheCanonicalFormAlone(t *testing.T) {
	m, _ := describe(t)
	private, _ := keys(t)
	signed, err := release.Sign(m, private)
	require.NoError(t, err)
	text := string(signed.Text())
	for name, altered := range map[string]string{
		"empty": "", "cut": text[:len(text)-1], "more": text + "x", "a line more": text + "\n", "carriage returns": strings.ReplaceAll(text, "\n", "\r\n"),
		"another order":       strings.Replace(text, "os linux\narch amd64\n", "arch amd64\nos linux\n", 1),
		"two spaces":          strings.Replace(text, "os linux", "os  linux", 1),
		"a zero in front":     strings.Replace(text, "size ", "size 0", 1),
		"a plus in front":     strings.Replace(text, "size ", "size +", 1),
		"another header":      strings.Replace(text, "v1\n", "v2\n", 1),
		"unpadded signature":  strings.Replace(text, "==\n", "\n", 1),
		"a version's newline": strings.Replace(text, "version ", "version x\nversion ", 1),
		"huge":                text + strings.Repeat("#", 5000),
	} {
		_, err := release.Parse([]byte(altered))
		require.ErrorIs(t, err, release.ErrManifest, name)
	}
	_, err = release.Read(filepath.Join(t.TempDir(), "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func FuzzParse(f *testing.F) {
	m, _ := describe(f)
	private, public := keys(f)
	signed, err := release.Sign(m, private)
	require.NoError(f, err)
	f.Add(m.Text())
	f.Add(signed.Text())
	f.Add([]byte("slipway-agent-manifest-v1\nversion \nos \narch \nsha256 \nsize \n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := release.Parse(text)
		if err != nil {
			if !errors.Is(err, release.ErrManifest) {
				t.Fatalf("an error that is not ErrManifest: %v", err)
			}
			return
		}
		if !bytes.Equal(m.Text(), text) {
			t.Fatalf("two texts for one manifest: %q", text)
		}
		if m.Verify(public) == nil && !bytes.Equal(text, signed.Text()) {
			t.Fatalf("a manifest that was never signed is trusted: %q", text)
		}
		if _, err := release.Newer("v0.0.0-0", m.Version); err != nil {
			t.Fatalf("a manifest's version can't be ordered: %v", err)
		}
	})
}

func Example() {
	private, public, _ := release.GenerateKey()
	m := release.Manifest{Version: "v1.4.0", OS: "linux", Arch: "amd64", SHA256: strings.Repeat("9f", 32), Size: 21364736}
	signed, _ := release.Sign(m, private)
	read, err := release.Parse(signed.Text())
	fmt.Println(err, read.Verify(public))
	forward, err := release.Newer("v1.3.9", read.Version)
	fmt.Println(forward, err)
	// Output:
	// <nil> <nil>
	// true <nil>
}
