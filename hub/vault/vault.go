package vault

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/hub/store"
)

// sealedVersion is the first byte of a sealed value.
const sealedVersion = 1

// headerSize is that of the version and the key's id.
const headerSize = 1 + idSize

// rootSecret names the secret that Derive derives from.
const rootSecret = "root"

// Vault seals and opens values. Its methods may be called from many goroutines.
type Vault struct {
	store   *store.Store
	log     hclog.Logger
	current *key
	keys    map[[idSize]byte]*key
	root    []byte
}

// Open finds the master key, or makes it when nothing was sealed yet. ErrKey: the
// key is not the one that the store needs, whose id the error names. ErrKeyFile: the
// file may not be used.
func Open(ctx context.Context, cfg Config) (*Vault, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	v := &Vault{store: cfg.Store, log: cfg.Logger, keys: map[[idSize]byte]*key{}}
	needed, err := v.needed(ctx)
	if err != nil {
		return nil, err
	}
	keys, err := cfg.keys(needed)
	if err != nil {
		return nil, err
	}
	v.current = keys[0]
	for _, k := range keys {
		v.keys[k.raw] = k
	}
	if err := v.check(needed); err != nil {
		return nil, err
	}
	if err := v.begin(ctx); err != nil {
		return nil, fmt.Errorf("vault: open: %w", err)
	}
	return v, nil
}

// keys are all that are given, the current one first.
func (c Config) keys(needed []string) (keys []*key, err error) {
	if c.Key != "" {
		k, err := parseKey(c.Key)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	if c.File != "" {
		stored, err := c.file(needed)
		if err != nil {
			return nil, err
		}
		keys = append(keys, stored...)
	}
	for i, text := range c.Previous {
		k, err := parseKey(text)
		if err != nil {
			return nil, fmt.Errorf("previous key %d: %w", i+1, err)
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// file reads the key's file. It is made only where nothing was sealed: a new key
// in the place of a lost one would open nothing.
func (c Config) file(needed []string) ([]*key, error) {
	dir := c.Store.Dir()
	keys, err := readFile(c.File, dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return keys, err
	}
	switch {
	case c.Key != "":
		return nil, nil // it could only have held previous ones
	case len(needed) > 0:
		return nil, fmt.Errorf("%w %s is needed: the secrets in %s were sealed with it, and its file %s is not there; bring the file back, or set SLIPWAY_MASTER_KEY",
			ErrKey, strings.Join(needed, " and "), dir, c.File)
	}
	if err := makeFile(c.File); err != nil {
		return nil, fmt.Errorf("%w; or set SLIPWAY_MASTER_KEY, or name another file", err)
	}
	c.Logger.Info("master key made: keep a copy of the file apart from the backups", "file", c.File)
	return readFile(c.File, dir)
}

// needed are the ids of the keys that something in the store is sealed with.
func (v *Vault) needed(ctx context.Context) (ids []string, err error) {
	err = v.store.Read(ctx, func(tx *store.Tx) error {
		ids, err = store.All(tx, store.Value[string], `SELECT id FROM vault_keys ORDER BY first_at DESC, id`)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("vault: read keys in use: %w", err)
	}
	return ids, nil
}

func (v *Vault) check(needed []string) error {
	var missing []string
	for _, id := range needed {
		if v.byID(id) == nil {
			missing = append(missing, id)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("%w %s is needed: secrets in %s were sealed with it, and the keys given are others (%s); give it as the master key, or as a previous one",
		ErrKey, strings.Join(missing, " and "), v.store.Dir(), strings.Join(v.given(), ", "))
}

func (v *Vault) byID(id string) *key {
	for _, k := range v.keys {
		if k.id == id {
			return k
		}
	}
	return nil
}

func (v *Vault) given() (ids []string) {
	for k := range maps.Values(v.keys) {
		ids = append(ids, k.id)
	}
	slices.Sort(ids)
	return ids
}

// begin notes that the current key is in use, before anything is sealed with it,
// and reads the root secret, or makes it.
func (v *Vault) begin(ctx context.Context) error {
	return v.store.Write(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO vault_keys (id, first_at) VALUES (?, ?) ON CONFLICT DO NOTHING`, v.current.id, time.Now().UnixMilli())
		if err != nil {
			return err
		}
		place := secrets.Place(rootSecret)
		sealed, found, err := store.One(tx, store.Value[[]byte], `SELECT value FROM vault_secrets WHERE name = ?`, rootSecret)
		if err != nil {
			return err
		}
		if found {
			v.root, err = v.Open(place, sealed)
			return err
		}
		v.root = randomKey()
		_, err = tx.Exec(`INSERT INTO vault_secrets (name, value) VALUES (?, ?)`, rootSecret, v.Seal(place, v.root))
		return err
	})
}

// KeyID is the id of the key that seals now.
func (v *Vault) KeyID() string { return v.current.id }

// Seal encrypts text for a place, see Column.Place.
func (v *Vault) Seal(place string, text []byte) []byte {
	return v.current.aead.Seal(v.header(), nil, text, []byte(place))
}

// header is what a value sealed now begins with.
func (v *Vault) header() []byte { return append([]byte{sealedVersion}, v.current.raw[:]...) }

// Open reads what Seal made for the same place. ErrKey: with a key that was not
// given. ErrSealed: it was changed, or is another place's.
func (v *Vault) Open(place string, sealed []byte) ([]byte, error) {
	if len(sealed) < headerSize || sealed[0] != sealedVersion {
		return nil, ErrSealed
	}
	k, ok := v.keys[[idSize]byte(sealed[1:headerSize])]
	if !ok {
		return nil, fmt.Errorf("%w %x is needed to open a value, and was not given", ErrKey, sealed[1:headerSize])
	}
	text, err := k.aead.Open(nil, nil, sealed[headerSize:], []byte(place))
	if err != nil {
		return nil, ErrSealed
	}
	return text, nil
}

// SealedWith is the id of the key that a sealed value opens with; empty: it is none.
func SealedWith(sealed []byte) string {
	if len(sealed) < headerSize || sealed[0] != sealedVersion {
		return ""
	}
	return hex.EncodeToString(sealed[1:headerSize])
}

// Derive returns the 32-byte key for a purpose, such as signing. It is the same
// as long as the store lives, whatever becomes of the master key.
func (v *Vault) Derive(purpose string) []byte {
	out, err := hkdf.Expand(sha256.New, v.root, "slipway use "+purpose, keySize)
	if err != nil {
		panic(err) // 32 bytes are always within the limit
	}
	return out
}

// Format prints the id of the current key, whatever the verb.
func (v *Vault) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "vault(%s)", v.current.id) }
