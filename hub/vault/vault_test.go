package vault_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/hub/store/storetest"
	"github.com/slipway-ci/slipway/hub/vault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a data folder, and what was logged about it.
type world struct {
	t     *testing.T
	dir   string
	store *store.Store
	log   *bytes.Buffer
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, dir: storetest.Dir(t), log: new(bytes.Buffer)}
	s, err := store.Open(t.Context(), store.Config{Dir: w.dir})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	w.store = s
	return w
}

func (w *world) config(c vault.Config) vault.Config {
	c.Store = w.store
	c.Logger = hclog.New(&hclog.LoggerOptions{Output: w.log, Level: hclog.Trace})
	return c
}

func (w *world) open(c vault.Config) *vault.Vault {
	w.t.Helper()
	v, err := vault.Open(w.t.Context(), w.config(c))
	require.NoError(w.t, err)
	return v
}

// refuse returns the error of Open, which must be one line.
func (w *world) refuse(c vault.Config) error {
	w.t.Helper()
	_, err := vault.Open(w.t.Context(), w.config(c))
	require.Error(w.t, err)
	require.NotContains(w.t, err.Error(), "\n")
	return err
}

func (w *world) key() string {
	w.t.Helper()
	text, err := os.ReadFile(vault.DefaultFile(w.dir))
	require.NoError(w.t, err)
	return strings.TrimSpace(string(text))
}

func id(t *testing.T, key string) string {
	t.Helper()
	id, err := vault.KeyID(key)
	require.NoError(t, err)
	return id
}

func opens(t *testing.T, v *vault.Vault, sealed []byte, want string) {
	t.Helper()
	text, err := v.Open(place, sealed)
	require.NoError(t, err)
	require.Equal(t, want, string(text))
}

var place = vault.JobEnv.Place("job-1")

func TestWhatIsSealedOpensAtItsPlaceAlone(t *testing.T) {
	v := newWorld(t).open(vault.Config{})
	sealed := v.Seal(place, []byte("hidden"))
	require.NotContains(t, string(sealed), "hidden")
	opens(t, v, sealed, "hidden")
	require.NotEqual(t, sealed, v.Seal(place, []byte("hidden")), "equal texts must not be seen to be equal")
	opens(t, v, v.Seal(place, nil), "")

	for _, other := range []string{vault.JobEnv.Place("job-2"), vault.RegistryCredential.Place("job-1"), ""} {
		_, err := v.Open(other, sealed)
		require.ErrorIs(t, err, vault.ErrSealed, "at %q", other)
	}
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		_, err := v.Open(place, changed)
		require.Error(t, err, "byte %d was changed", i)
	}
	for n := range len(sealed) {
		_, err := v.Open(place, sealed[:n])
		require.ErrorIs(t, err, vault.ErrSealed, "only %d bytes are left", n)
	}
}

func TestTheKeyIsMadeOnceBesideTheDataFolder(t *testing.T) {
	w := newWorld(t)
	v := w.open(vault.Config{})
	sealed := v.Seal(place, []byte("hidden"))
	info, err := os.Stat(vault.DefaultFile(w.dir))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	require.Equal(t, id(t, w.key()), v.KeyID())

	again := w.open(vault.Config{})
	opens(t, again, sealed, "hidden")
	require.Equal(t, v.Derive("a"), again.Derive("a"))
	require.NotEqual(t, v.Derive("a"), v.Derive("b"))

	var left []string
	require.NoError(t, filepath.WalkDir(filepath.Dir(w.dir), func(path string, _ os.DirEntry, err error) error {
		left = append(left, filepath.Base(path))
		return err
	}))
	require.Equal(t, 1, strings.Count(strings.Join(left, " "), ".key"), "%q", left)
	content, err := os.ReadFile(filepath.Join(w.dir, store.DatabaseFile+"-wal"))
	require.NoError(t, err)
	root, err := base64.StdEncoding.DecodeString(w.key())
	require.NoError(t, err)
	for name, secret := range map[string][]byte{"the key": root, "the key's text": []byte(w.key()), "a derived key": v.Derive("a")} {
		require.NotContains(t, string(content), string(secret), "%s is in the database", name)
	}
	require.NotContains(t, w.log.String(), w.key())
	require.Contains(t, w.log.String(), "master key made")
}

func TestEveryFormOfAKey(t *testing.T) {
	root := bytes.Repeat([]byte{0xfb, 0xef, 0xff}, 11)[:32] // + and / in base64
	w := newWorld(t)
	first := w.open(vault.Config{Key: hex.EncodeToString(root)})
	sealed := first.Seal(place, []byte("hidden"))
	for _, key := range []string{
		strings.ToUpper(hex.EncodeToString(root)),
		base64.StdEncoding.EncodeToString(root), base64.RawStdEncoding.EncodeToString(root),
		base64.URLEncoding.EncodeToString(root), base64.RawURLEncoding.EncodeToString(root),
		" " + base64.StdEncoding.EncodeToString(root) + "\n",
	} {
		opens(t, w.open(vault.Config{Key: key}), sealed, "hidden")
	}
	require.NoFileExists(t, vault.DefaultFile(w.dir), "a key that is given needs no file")
	for _, bad := range []string{"secret-canary", hex.EncodeToString(root[:31]), base64.StdEncoding.EncodeToString(append(root, 1)), "=", " "} {
		for _, c := range []vault.Config{{Key: bad}, {Key: vault.NewKey(), Previous: []string{bad}}} {
			err := w.refuse(c)
			require.ErrorIs(t, err, vault.ErrKey)
			require.ErrorContains(t, err, "openssl rand -base64 32")
			require.NotContains(t, err.Error(), "canary")
		}
	}
}

func TestAnotherKeyIsToldAtTheStart(t *testing.T) {
	w := newWorld(t)
	needed := w.open(vault.Config{}).KeyID()
	other := vault.NewKey()

	// Another key, and no file.
	require.NoError(t, os.Rename(vault.DefaultFile(w.dir), vault.DefaultFile(w.dir)+".away"))
	err := w.refuse(vault.Config{Key: other})
	require.ErrorIs(t, err, vault.ErrKey)
	require.ErrorContains(t, err, "master key "+needed+" is needed")
	require.ErrorContains(t, err, "others ("+id(t, other)+")")

	// No key at all: a new one must not be made.
	err = w.refuse(vault.Config{})
	require.ErrorIs(t, err, vault.ErrKey)
	require.ErrorContains(t, err, "master key "+needed+" is needed")
	require.ErrorContains(t, err, vault.DefaultFile(w.dir)+" is not there")
	require.NoFileExists(t, vault.DefaultFile(w.dir))

	// Another file.
	require.NoError(t, os.WriteFile(vault.DefaultFile(w.dir), []byte(other), 0o600))
	require.ErrorContains(t, w.refuse(vault.Config{}), "master key "+needed+" is needed")

	// What was refused has left no trace.
	require.NoError(t, os.Rename(vault.DefaultFile(w.dir)+".away", vault.DefaultFile(w.dir)))
	require.Equal(t, needed, w.open(vault.Config{}).KeyID())
}

func TestFilesThatAreRefused(t *testing.T) {
	w := newWorld(t)
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(filepath.Dir(w.dir), name)
		require.NoError(t, os.WriteFile(path, []byte(text), mode))
		require.NoError(t, os.Chmod(path, mode))
		return path
	}
	key := vault.NewKey() + "\n"
	linked := filepath.Join(filepath.Dir(w.dir), "linked")
	require.NoError(t, os.Symlink(w.dir, linked))
	inside := filepath.Join(w.dir, "key")
	require.NoError(t, os.WriteFile(inside, []byte(key), 0o600))
	pointing := filepath.Join(filepath.Dir(w.dir), "pointing")
	require.NoError(t, os.Symlink(inside, pointing))
	for _, c := range []struct{ name, file, want string }{
		{"in the data folder", inside, "is in the data folder"},
		{"in it, not made yet", filepath.Join(w.dir, "new"), "is in the data folder"},
		{"in it, by a folder that is not there", filepath.Join(w.dir, "x", "y"), "is in the data folder"},
		{"in it, by a linked folder", filepath.Join(linked, "new"), "is in the data folder"},
		{"in it, by a link", pointing, "is in the data folder"},
		{"in it, by ..", w.dir + "/../data/new", "is in the data folder"},
		{"for the group", file("group", key, 0o640), "may be read by others (mode 0640): chmod 600"},
		{"for everybody", file("world", key, 0o604), "may be read by others (mode 0604): chmod 600"},
		{"a folder", filepath.Dir(w.dir), "not a regular file"},
		{"empty", file("empty", "\n# nothing\n", 0o600), "has no key"},
		{"no key", file("none", key+"canary\n", 0o600), "line 2"},
		{"in a folder that is not there", filepath.Join(filepath.Dir(w.dir), "x", "y"), "set SLIPWAY_MASTER_KEY"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if runtime.GOOS == "windows" && strings.Contains(c.want, "chmod") {
				t.Skip("no such modes here")
			}
			err := w.refuse(vault.Config{File: c.file})
			require.ErrorIs(t, err, vault.ErrKeyFile)
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), "canary")
		})
	}
	w.open(vault.Config{File: file("good", "# the hub's\n"+key, 0o400)})
}

func TestNothingPrintsAKey(t *testing.T) {
	w := newWorld(t)
	c := vault.Config{Key: vault.NewKey(), Previous: []string{vault.NewKey()}, File: "f"}
	v := w.open(vault.Config{Key: c.Key})
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		for _, value := range []any{c, &c, v, *v, struct{ C vault.Config }{c}} {
			text := fmt.Sprintf(verb, value)
			for _, key := range append(c.Previous, c.Key) {
				root, err := base64.StdEncoding.DecodeString(key)
				require.NoError(t, err)
				require.NotContains(t, text, key)
				require.NotContains(t, strings.ToLower(text), hex.EncodeToString(root))
				require.NotContains(t, strings.ToLower(text), hex.EncodeToString([]byte(key)))
			}
		}
	}
}
