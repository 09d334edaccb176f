package vault_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/hub/vault"
)

// credential stores a sealed row, as package scalesets does.
func (w *world) credential(v *vault.Vault, key, text string) {
	w.t.Helper()
	w.credentials(v, map[string]string{key: text})
}

func (w *world) credentials(v *vault.Vault, texts map[string]string) {
	w.t.Helper()
	require.NoError(w.t, w.store.Write(w.t.Context(), func(tx *store.Tx) error {
		for key, text := range texts {
			if err := w.insert(tx, v, key, text); err != nil {
				return err
			}
		}
		return nil
	}))
}

func (w *world) insert(tx *store.Tx, v *vault.Vault, key, text string) error {
	_, err := tx.Exec(`INSERT INTO registry_credentials (id, name, registry, username, secret, created_at, updated_at) VALUES (?, ?, '', '', ?, 0, 0)
			ON CONFLICT (id) DO UPDATE SET secret = excluded.secret`,
		key, key, v.Seal(vault.RegistryCredential.Place(key), []byte(text)))
	return err
}

func (w *world) sealed() (out map[string][]byte) {
	w.t.Helper()
	out = map[string][]byte{}
	require.NoError(w.t, w.store.Read(w.t.Context(), func(tx *store.Tx) error {
		_, err := store.All(tx, func(r store.Row) (_ struct{}, err error) {
			var key string
			var value []byte
			err = r.Scan(&key, &value)
			out[key] = value
			return struct{}{}, err
		}, `SELECT id, secret FROM registry_credentials`)
		return err
	}))
	return out
}

func TestReseal(t *testing.T) {
	w := newWorld(t)
	first, second := vault.NewKey(), vault.NewKey()
	v := w.open(vault.Config{Key: first})
	const rows = 450 // more than two batches
	texts := map[string]string{}
	for i := range rows {
		texts[fmt.Sprintf("%03d", i)] = fmt.Sprintf("secret %d", i)
	}
	w.credentials(v, texts)
	derived := v.Derive("signing")
	done, err := v.Reseal(t.Context())
	require.NoError(t, err)
	require.Zero(t, done, "nothing was to be done")

	require.ErrorContains(t, w.refuse(vault.Config{Key: second}), id(t, first))
	v = w.open(vault.Config{Key: second, Previous: []string{first}})
	require.Equal(t, id(t, second), v.KeyID())
	require.Equal(t, derived, v.Derive("signing"), "what is signed must outlive the change")
	text, err := v.Open(vault.RegistryCredential.Place("007"), w.sealed()["007"])
	require.NoError(t, err, "a previous key must open what it sealed")
	require.Equal(t, "secret 7", string(text))
	w.credential(v, "fresh", "of the new key")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = v.Reseal(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, w.refuse(vault.Config{Key: second}), id(t, first), "the previous key is needed until all is sealed anew")

	done, err = v.Reseal(t.Context())
	require.NoError(t, err)
	require.Equal(t, vault.Resealed{Values: rows + 1, Retired: []string{id(t, first)}}, done, "the rows and the root secret")
	require.Contains(t, w.log.String(), "no longer needed: key_id="+id(t, first))

	v = w.open(vault.Config{Key: second})
	require.Equal(t, derived, v.Derive("signing"))
	sealed := w.sealed()
	for key, want := range texts {
		text, err := v.Open(vault.RegistryCredential.Place(key), sealed[key])
		require.NoError(t, err)
		require.Equal(t, want, string(text))
	}
	for _, key := range []string{first, second} {
		require.NotContains(t, w.log.String(), key)
	}
	require.ErrorContains(t, w.refuse(vault.Config{Key: first}), id(t, second), "the way back is a rotation too")
}

func TestResealLosesNoEdit(t *testing.T) {
	w := newWorld(t)
	first, second := vault.NewKey(), vault.NewKey()
	v := w.open(vault.Config{Key: first})
	w.credentials(v, map[string]string{"a": "old", "b": "old", "c": "old"})
	v = w.open(vault.Config{Key: second, Previous: []string{first}})
	done, err := v.ResealCredentials(t.Context(), func() {
		w.credential(v, "b", "edited")
		require.NoError(t, w.store.Write(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Exec(`DELETE FROM registry_credentials WHERE id = 'c'`)
			return err
		}))
	})
	require.NoError(t, err)
	require.Equal(t, 1, done)
	sealed := w.sealed()
	require.Len(t, sealed, 2)
	text, err := v.Open(vault.RegistryCredential.Place("b"), sealed["b"])
	require.NoError(t, err)
	require.Equal(t, "edited", string(text))
}

func TestADamagedValueDoesNotStopTheOthers(t *testing.T) {
	w := newWorld(t)
	first, second := vault.NewKey(), vault.NewKey()
	v := w.open(vault.Config{Key: first})
	w.credential(v, "a", "good")
	w.credential(v, "b", "to be damaged")
	w.credential(v, "c", "good")
	damaged := w.sealed()["b"]
	damaged[len(damaged)-1] ^= 1
	require.NoError(t, w.store.Write(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE registry_credentials SET secret = ? WHERE id = 'b'`, damaged)
		return err
	}))
	v = w.open(vault.Config{Key: second, Previous: []string{first}})
	done, err := v.Reseal(t.Context())
	require.NoError(t, err)
	require.Equal(t, vault.Resealed{Values: 3, Failed: 1}, done)
	require.Equal(t, damaged, w.sealed()["b"], "what can't be opened is left as it is")
	require.Contains(t, w.log.String(), "row=b")
	require.ErrorContains(t, w.refuse(vault.Config{Key: second}), id(t, first))
}

func TestRotateTheFile(t *testing.T) {
	w := newWorld(t)
	before := w.open(vault.Config{})
	w.credential(before, "a", "hidden")
	file := vault.DefaultFile(w.dir)
	fresh, err := vault.Rotate(file, w.dir)
	require.NoError(t, err)
	require.NotEqual(t, before.KeyID(), fresh)
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	v := w.open(vault.Config{})
	require.Equal(t, fresh, v.KeyID())
	text, err := v.Open(vault.RegistryCredential.Place("a"), w.sealed()["a"])
	require.NoError(t, err)
	require.Equal(t, "hidden", string(text))
	done, err := v.Reseal(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{before.KeyID()}, done.Retired)
	require.NoError(t, os.WriteFile(file, []byte(strings.Split(w.key(), "\n")[0]), 0o600))
	require.Equal(t, fresh, w.open(vault.Config{}).KeyID(), "the previous key can be taken out now")

	require.NoError(t, os.Chmod(file, 0o644))
	_, err = vault.Rotate(file, w.dir)
	require.ErrorIs(t, err, vault.ErrKeyFile)
}

// From the file to the environment: the file's key is a previous one.
func TestAGivenKeyAfterAFile(t *testing.T) {
	w := newWorld(t)
	before := w.open(vault.Config{}).KeyID()
	given := vault.NewKey()
	v := w.open(vault.Config{Key: given})
	require.Equal(t, id(t, given), v.KeyID())
	done, err := v.Reseal(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{before}, done.Retired)
	require.NoError(t, os.Remove(vault.DefaultFile(w.dir)))
	w.open(vault.Config{Key: given})
}

// Reseal would strike a key too early if it did not know a column.
func TestEverySealedColumnIsKnown(t *testing.T) {
	known := map[string]bool{}
	for _, c := range vault.Columns() {
		known[c] = true
	}
	found := 0
	files, err := filepath.Glob(filepath.Join("..", "store", "migrations", "*.sql"))
	require.NoError(t, err)
	for _, path := range files {
		file, err := os.Open(path)
		require.NoError(t, err)
		table := ""
		for lines := bufio.NewScanner(file); lines.Scan(); {
			words := strings.Fields(lines.Text())
			if len(words) > 2 && words[0] == "CREATE" && words[1] == "TABLE" {
				table = words[2]
			}
			if _, comment, ok := strings.Cut(lines.Text(), "--"); ok && len(words) > 1 && words[1] == "BLOB" || len(words) > 1 && words[1] == "BLOB," {
				if strings.HasPrefix(strings.TrimSpace(comment), "sealed") {
					found++
					require.True(t, known[table+"."+words[0]], "%s.%s is sealed (%s) and not among the vault's columns", table, words[0], filepath.Base(path))
				}
			}
		}
		require.NoError(t, file.Close())
	}
	require.Equal(t, len(known), found)
}

func TestForget(t *testing.T) {
	w := newWorld(t)
	lost, next := vault.NewKey(), vault.NewKey()
	v := w.open(vault.Config{Key: lost})
	w.credential(v, "a", "lost")
	derived := v.Derive("signing")
	require.ErrorContains(t, w.refuse(vault.Config{Key: next}), id(t, lost))
	require.ErrorIs(t, vault.Forget(t.Context(), w.store, id(t, next)), vault.ErrKey)
	require.NoError(t, vault.Forget(t.Context(), w.store, id(t, lost)))

	v = w.open(vault.Config{Key: next})
	require.NotEqual(t, derived, v.Derive("signing"))
	_, err := v.Open(vault.RegistryCredential.Place("a"), w.sealed()["a"])
	require.ErrorIs(t, err, vault.ErrKey)
	require.ErrorContains(t, err, id(t, lost))
	w.credential(v, "a", "set again")
	text, err := v.Open(vault.RegistryCredential.Place("a"), w.sealed()["a"])
	require.NoError(t, err)
	require.Equal(t, "set again", string(text))

	require.NoError(t, vault.Forget(t.Context(), w.store, id(t, next)))
	w.open(vault.Config{Key: vault.NewKey()}) // the root secret went with its key
}
