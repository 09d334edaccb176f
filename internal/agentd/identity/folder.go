package identity

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// The files of the folder.
const (
	identityName  = "agent.json"
	tokenName     = "token"
	nextName      = "token.next"
	enrolName     = "enrol.json"
	keyName       = "update-key.pub"
	lockName      = "lock"
	writeLockName = "write.lock"
)

// Folder is a data folder. Its methods may be called from many goroutines and
// processes at once.
type Folder struct{ path string }

// Open opens the folder and makes it if it is not there. One with an agent in it
// that others may read or write, or that belongs to another user, is ErrOpen.
func Open(path string) (*Folder, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make data folder: %w", err)
	}
	if err := shut(path); err != nil {
		return nil, fmt.Errorf("make data folder: %w", err)
	}
	return find(path)
}

// shut makes a folder that was made for us, such as a new volume of a container,
// ours alone. One with an agent in it may have been read by others: that is said.
func shut(path string) error {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() || info.Mode().Perm()&0o077 == 0 {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if _, err := os.Lstat(filepath.Join(path, identityName)); !ok || int(stat.Uid) != os.Geteuid() || !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return os.Chmod(path, 0o700)
}

// Find opens a folder that is there; else the error is fs.ErrNotExist.
func Find(path string) (*Folder, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	return find(path)
}

func find(path string) (*Folder, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, fmt.Errorf("data folder: %w", err)
	case !info.IsDir():
		return nil, fmt.Errorf("data folder %s: it is no folder", path)
	}
	if err := private(path, info, 0o077, "chmod 700"); err != nil {
		return nil, err
	}
	return &Folder{path: path}, nil
}

// private checks that a file or folder is this user's, and that others have none of
// the forbidden rights.
func private(path string, info fs.FileInfo, forbidden fs.FileMode, remedy string) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case info.Mode().Perm()&forbidden != 0:
		return fmt.Errorf("%w: %s has mode %04o (%s %s)", ErrOpen, path, info.Mode().Perm(), remedy, path)
	case ok && int(stat.Uid) != os.Geteuid():
		return fmt.Errorf("%w: %s belongs to user %d, and this is user %d", ErrOpen, path, stat.Uid, os.Geteuid())
	}
	return nil
}

// Path is the folder's absolute path.
func (f *Folder) Path() string { return f.path }

// Join is the path of a file in the folder.
func (f *Folder) Join(name ...string) string {
	return filepath.Join(append([]string{f.path}, name...)...)
}

// Read reads a small file of the folder. One that others may read or write is ErrOpen.
func (f *Folder) Read(name string) ([]byte, error) { return f.read(name, 0o077, "chmod 600") }

func (f *Folder) read(name string, forbidden fs.FileMode, remedy string) ([]byte, error) {
	file, err := os.Open(f.Join(name))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular() || info.Size() > maxFile:
		return nil, fmt.Errorf("%w: %s is no file of ours", ErrDamaged, f.Join(name))
	}
	if err := private(f.Join(name), info, forbidden, remedy); err != nil {
		return nil, err
	}
	data := make([]byte, info.Size())
	n, err := file.ReadAt(data, 0)
	if err != nil && n < len(data) {
		return nil, err
	}
	return data, nil
}

// maxFile is more than any file of the folder has.
const maxFile = 1 << 20

// Write replaces a file of the folder in one step, mode 0600: after a crash it is
// the old one or the new one.
func (f *Folder) Write(name string, data []byte) error {
	if err := f.write(name, data); err != nil {
		return fmt.Errorf("write %s: %w", f.Join(name), err)
	}
	return nil
}

func (f *Folder) write(name string, data []byte) error {
	temp, err := os.CreateTemp(f.path, "."+name+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name()) // gone when all went well
	_, err = temp.Write(data)
	if err = errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp.Name(), f.Join(name)); err != nil {
		return err
	}
	return Sync(f.path)
}

// rename makes one file the other in one step.
func (f *Folder) rename(from, to string) error {
	if err := os.Rename(f.Join(from), f.Join(to)); err != nil {
		return err
	}
	return Sync(f.path)
}

// drop removes a file that may be gone.
func (f *Folder) drop(name string) error {
	if err := os.Remove(f.Join(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Sync writes the entries of a folder through to the disk.
func Sync(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// Destroy removes everything that an agent keeps in the folder, and the folder if
// nothing else is in it. The caller holds the lock.
func (f *Folder) Destroy() error {
	var errs []error
	// Credentials first: whatever happens then, they are gone.
	for _, name := range []string{tokenName, nextName, enrolName, "bin", "runners", "update.json", "status.json", keyName, identityName, writeLockName, lockName} {
		if err := os.RemoveAll(f.Join(name)); err != nil {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove data folder: %w", err)
	}
	// It may be a mount, or hold what is not ours: then it stays.
	_ = os.Remove(f.path)
	return nil
}
