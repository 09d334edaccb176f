package vault

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// maxFile is far above what a file with keys may need, in bytes.
const maxFile = 64 << 10

// readFile reads the keys in a file, the current one first. An error that is
// fs.ErrNotExist: there is no file.
func readFile(path, dataDir string) ([]*key, error) {
	if err := outside(path, dataDir); err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrKeyFile, err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%w: %s is not a regular file", ErrKeyFile, path)
	case info.Size() > maxFile:
		return nil, fmt.Errorf("%w: %s is larger than %d KiB", ErrKeyFile, path, maxFile>>10)
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("%w: %s may be read by others (mode %04o): chmod 600 %s", ErrKeyFile, path, info.Mode().Perm(), path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeyFile, err)
	}
	var keys []*key
	for i, line := range strings.Split(string(text), "\n") {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		k, err := parseKey(line)
		if err != nil {
			return nil, fmt.Errorf("%w: %s line %d: %w", ErrKeyFile, path, i+1, err)
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%w: %s has no key", ErrKeyFile, path)
	}
	return keys, nil
}

// outside refuses a file in the data folder: copies of the folder would hold the
// key with what it opens. Links are looked through.
func outside(path, dataDir string) error {
	inner, err := resolve(path)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrKeyFile, err)
	}
	dir, err := resolve(dataDir)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrKeyFile, err)
	}
	if rel, err := filepath.Rel(dir, inner); err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return fmt.Errorf("%w: %s is in the data folder %s: a copy of the folder would hold the key too; name a file outside", ErrKeyFile, path, dataDir)
	}
	return nil
}

// resolve is the absolute path without links, as far as the path exists.
func resolve(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(path)
	if parent := filepath.Dir(path); errors.Is(err, fs.ErrNotExist) && parent != path {
		if real, err = resolve(parent); err != nil {
			return "", err
		}
		return filepath.Join(real, filepath.Base(path)), nil
	}
	return real, err
}

// makeFile writes a new key to a file that is not there yet.
func makeFile(path string) error {
	err := writeFile(path, []byte(NewKey()+"\n"), os.Link)
	if errors.Is(err, fs.ErrExist) {
		return nil // somebody else has just made it: theirs is read
	}
	if err != nil {
		return fmt.Errorf("%w: make %s: %w", ErrKeyFile, path, err)
	}
	return nil
}

// writeFile writes a file beside its place, flushes it and puts it there with move.
func writeFile(path string, text []byte, move func(from, to string) error) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(file.Name()) }() // moved or of no use
	_, err = file.Write(text)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := move(file.Name(), path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// syncFolder makes a new name in dir as durable as what it names. Not every
// system can, and those that can't need not.
func syncFolder(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// Rotate puts a new key at the top of a key's file; those below still open what
// they sealed. It takes effect when the hub starts the next time. dataDir is the
// hub's. It returns the new key's id.
func Rotate(file, dataDir string) (id string, err error) {
	if _, err := readFile(file, dataDir); err != nil {
		return "", err
	}
	old, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrKeyFile, err)
	}
	fresh := NewKey()
	if err := writeFile(file, append([]byte(fresh+"\n"), old...), os.Rename); err != nil {
		return "", fmt.Errorf("%w: write %s: %w", ErrKeyFile, file, err)
	}
	return KeyID(fresh)
}
