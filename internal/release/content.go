package release

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Describe makes the manifest, not yet signed, of the program at path.
func Describe(path, version, goos, arch string) (Manifest, error) {
	f, err := os.Open(path)
	if err != nil {
		return Manifest{}, err
	}
	sum := sha256.New()
	size, err := io.Copy(sum, f)
	if err = errors.Join(err, f.Close()); err != nil {
		return Manifest{}, fmt.Errorf("describe %s: %w", path, err)
	}
	m := Manifest{Version: version, OS: goos, Arch: arch, SHA256: hex.EncodeToString(sum.Sum(nil)), Size: size}
	return m, m.validate()
}

// Check reads the program whole, and no further than the manifest's size and
// one byte: ErrContent where it is another, the reader's own error otherwise.
func (m Manifest) Check(program io.Reader) error {
	return m.Copy(io.Discard, program)
}

// Copy is Check, and writes what it reads. What was written is good only if the
// error is nil.
func (m Manifest) Copy(to io.Writer, program io.Reader) error {
	if err := m.validate(); err != nil {
		return err
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(sum, to), io.LimitReader(program, m.Size+1))
	switch {
	case err != nil:
		return err
	case n != m.Size:
		return fmt.Errorf("%w: %d bytes are expected, more or fewer came", ErrContent, m.Size)
	case [32]byte(sum.Sum(nil)) != m.Sum():
		return fmt.Errorf("%w: SHA-256 is %x, %s is expected", ErrContent, sum.Sum(nil), m.SHA256)
	}
	return nil
}

// Read reads the manifest at path.
func Read(path string) (Manifest, error) {
	text, err := readSmall(path)
	if err != nil {
		return Manifest{}, err
	}
	m, err := Parse(text)
	if err != nil {
		return Manifest{}, fmt.Errorf("read %s: %w", path, err)
	}
	return m, nil
}

// Write writes the manifest to path (0644), whole or not at all.
func Write(path string, m Manifest) error {
	if err := m.validate(); err != nil {
		return err
	}
	return replace(path, m.Text(), 0o644)
}

// readSmall reads a file that can't be larger than a manifest may be.
func readSmall(path string) (text []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(io.LimitReader(f, maxManifest+1))
}

func replace(path string, text []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
