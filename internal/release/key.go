package release

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
)

const (
	publicKind  = "slipway-update-public-key"
	privateKind = "slipway-update-private-key"
)

// PublicKey checks manifests. The zero value is no key.
type PublicKey struct{ key ed25519.PublicKey }

// PrivateKey signs manifests. It prints as its id, whatever the verb. The zero
// value is no key.
type PrivateKey struct{ key ed25519.PrivateKey }

// GenerateKey makes a key.
func GenerateKey() (PrivateKey, PublicKey, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	return PrivateKey{private}, PublicKey{public}, err
}

// ID is what a key is called: 16 hexadecimal digits of its SHA-256; empty for
// the zero value. It is for people and for messages; trust never rests on it.
func (k PublicKey) ID() string {
	if k.IsZero() {
		return ""
	}
	sum := sha256.Sum256(k.key)
	return hex.EncodeToString(sum[:8])
}

// IsZero says whether there is no key.
func (k PublicKey) IsZero() bool { return len(k.key) == 0 }

// Equal says whether both are one key.
func (k PublicKey) Equal(other PublicKey) bool {
	return !k.IsZero() && k.key.Equal(other.key)
}

// Text is the key as in a file: one line with its end. Empty for the zero value.
func (k PublicKey) Text() string {
	if k.IsZero() {
		return ""
	}
	return publicKind + " " + base64.StdEncoding.EncodeToString(k.key) + "\n"
}

// String is the id.
func (k PublicKey) String() string { return k.ID() }

// ParsePublicKey reads a key file's text; the error is ErrKey.
func ParsePublicKey(text []byte) (PublicKey, error) {
	b, err := parseKey(publicKind, text)
	if err != nil {
		return PublicKey{}, err
	}
	return PublicKey{ed25519.PublicKey(b)}, nil
}

// ReadPublicKey reads the key file at path.
func ReadPublicKey(path string) (PublicKey, error) {
	text, err := readSmall(path)
	if err != nil {
		return PublicKey{}, err
	}
	key, err := ParsePublicKey(text)
	if err != nil {
		return PublicKey{}, fmt.Errorf("read %s: %w", path, err)
	}
	return key, nil
}

// WritePublicKey writes the key to path (0644), whole or not at all.
func WritePublicKey(path string, key PublicKey) error {
	if key.IsZero() {
		return fmt.Errorf("write %s: %w: no key", path, ErrKey)
	}
	return replace(path, []byte(key.Text()), 0o644)
}

// Public is the key that checks what this one signs.
func (k PrivateKey) Public() PublicKey {
	if k.IsZero() {
		return PublicKey{}
	}
	return PublicKey{k.key.Public().(ed25519.PublicKey)}
}

// IsZero says whether there is no key.
func (k PrivateKey) IsZero() bool { return len(k.key) == 0 }

// String is the id, never the secret.
func (k PrivateKey) String() string { return "release.PrivateKey(" + k.Public().ID() + ")" }

// Format makes every verb print String.
func (k PrivateKey) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(k.String())) }

// ReadPrivateKey reads the key file at path. Others than its owner must not be
// able to read it.
func ReadPrivateKey(path string) (PrivateKey, error) {
	info, err := os.Stat(path)
	if err != nil {
		return PrivateKey{}, err
	}
	if info.Mode().Perm()&0o077 != 0 && os.PathSeparator == '/' {
		return PrivateKey{}, fmt.Errorf("read %s: %w: others may read it (mode %04o): chmod 600 it", path, ErrKey, info.Mode().Perm())
	}
	text, err := readSmall(path)
	if err != nil {
		return PrivateKey{}, err
	}
	b, err := parseKey(privateKind, text)
	if err != nil {
		return PrivateKey{}, fmt.Errorf("read %s: %w", path, err)
	}
	return PrivateKey{ed25519.NewKeyFromSeed(b)}, nil
}

// WritePrivateKey writes the key to a file of its owner's alone (0600). It
// replaces no file: a lost key can't be made again; the error is then fs.ErrExist.
func WritePrivateKey(path string, key PrivateKey) error {
	if key.IsZero() {
		return fmt.Errorf("write %s: %w: no key", path, ErrKey)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(privateKind + " " + base64.StdEncoding.EncodeToString(key.key.Seed()) + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		_ = os.Remove(path)
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// parseKey returns the 32 bytes of the one key of kind in text.
func parseKey(kind string, text []byte) ([]byte, error) {
	if len(text) > maxManifest {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrKey, maxManifest)
	}
	var found []byte
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		words := strings.Fields(line)
		if len(words) != 2 || words[0] != kind || found != nil {
			return nil, fmt.Errorf("%w: one line %q is needed", ErrKey, kind+" <base64>")
		}
		b, err := base64.StdEncoding.Strict().DecodeString(words[1])
		if err != nil || len(b) != ed25519.SeedSize { // a public key is as long
			return nil, fmt.Errorf("%w: not 32 bytes in base64", ErrKey)
		}
		found = b
	}
	if found == nil {
		return nil, fmt.Errorf("%w: one line %q is needed", ErrKey, kind+" <base64>")
	}
	return found, nil
}
