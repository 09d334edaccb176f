package vault

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
)

const (
	keySize = 32
	idSize  = 8
)

// key is a master key, ready for use. What it was made from is not kept.
type key struct {
	id   string // 16 hex digits, no secret
	raw  [idSize]byte
	aead cipher.AEAD
}

// newKey derives everything from root. GCM's nonces are random: one key may seal
// some 2^32 values (NIST SP 800-38D, 8.3).
func newKey(root []byte) *key {
	block, err := aes.NewCipher(derive(root, "seal", keySize))
	if err != nil {
		panic(err) // the size is right
	}
	k := &key{raw: [idSize]byte(derive(root, "key id", idSize))}
	k.id = hex.EncodeToString(k.raw[:])
	if k.aead, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		panic(err) // AES has the right block size
	}
	return k
}

func derive(root []byte, purpose string, size int) []byte {
	out, err := hkdf.Expand(sha256.New, root, "slipway "+purpose, size)
	if err != nil {
		panic(err) // so few bytes are always within the limit
	}
	return out
}

func randomKey() []byte {
	root := make([]byte, keySize)
	_, _ = rand.Read(root) // never fails, see crypto/rand
	return root
}

// parseKey reads 32 bytes in hex or base64 (standard or for URLs). Its error
// tells nothing of the text.
func parseKey(text string) (*key, error) {
	text = strings.TrimSpace(text)
	if root, err := hex.DecodeString(text); err == nil && len(root) == keySize {
		return newKey(root), nil
	}
	plain := strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(text, "="))
	root, err := base64.RawStdEncoding.DecodeString(plain)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: not %d bytes in hex or base64; make one with: openssl rand -base64 %d", ErrKey, keySize, keySize)
	case len(root) != keySize:
		return nil, fmt.Errorf("%w: has %d bytes, %d are needed; make one with: openssl rand -base64 %d", ErrKey, len(root), keySize, keySize)
	}
	return newKey(root), nil
}

// NewKey makes a master key, as SLIPWAY_MASTER_KEY and the key's file have it.
func NewKey() string { return base64.StdEncoding.EncodeToString(randomKey()) }

// KeyID is the id of a master key: derived from it, and no secret. ErrKey: text
// is none.
func KeyID(text string) (string, error) {
	k, err := parseKey(text)
	if err != nil {
		return "", err
	}
	return k.id, nil
}
