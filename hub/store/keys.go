package store

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

const keyFile = "key"

// Keys are derived from the secret in the data folder, which is made when it is
// missing (0600) and never stored in the database: a copy of the database alone
// opens nothing.
type Keys struct{ root []byte }

// Keys reads the folder's secret, or makes it.
func (s *Store) Keys() (*Keys, error) {
	path := filepath.Join(s.cfg.Dir, keyFile)
	root, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		root, err = makeKey(path)
	}
	if err != nil {
		return nil, fmt.Errorf("store: read key: %w", err)
	}
	if len(root) != sha256.Size {
		return nil, fmt.Errorf("store: read key: %s has %d bytes, %d are needed", path, len(root), sha256.Size)
	}
	return &Keys{root: root}, nil
}

func makeKey(path string) ([]byte, error) {
	root := make([]byte, sha256.Size)
	_, _ = rand.Read(root) // never fails, see crypto/rand
	temp := path + ".new"
	file, err := os.OpenFile(temp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = file.Write(root)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return nil, err
	}
	if err := os.Rename(temp, path); err != nil {
		return nil, err
	}
	return root, syncFolder(filepath.Dir(path))
}

// syncFolder makes a new name in dir as durable as what it names. Not every
// system can, and those that can't need not.
func syncFolder(dir string) error {
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	if runtime.GOOS == "windows" {
		return folder.Close()
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// Derive returns the 32-byte key for one purpose.
func (k *Keys) Derive(purpose string) []byte {
	key, err := hkdf.Expand(sha256.New, k.root, "slipway "+purpose, sha256.Size)
	if err != nil {
		panic(err) // 32 bytes are always within the limit
	}
	return key
}

// Box encrypts what must be read back.
type Box struct{ aead cipher.AEAD }

// Box returns the one for a purpose.
func (k *Keys) Box(purpose string) *Box {
	block, err := aes.NewCipher(k.Derive(purpose))
	if err != nil {
		panic(err) // the key has the right size
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return &Box{aead: aead}
}

// Seal encrypts text for a place, such as a row's id: what was sealed for one
// place opens at no other.
func (b *Box) Seal(text []byte, place string) []byte {
	return b.aead.Seal(nil, nil, text, []byte(place))
}

// Open reads what Seal made.
func (b *Box) Open(sealed []byte, place string) ([]byte, error) {
	text, err := b.aead.Open(nil, nil, sealed, []byte(place))
	if err != nil {
		return nil, errors.New("store: open sealed value: wrong key or damaged")
	}
	return text, nil
}
