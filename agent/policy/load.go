package policy

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// maxFile bounds agent.yaml, in bytes.
const maxFile = 1 << 20

// Load reads agent.yaml. An error that is fs.ErrNotExist says that there is none:
// then Default is the policy, unless somebody named the file. Any other is ErrFile, tells
// every problem with its line and column, and means that no runner should start.
//
// The file is only believed when nobody but root and the agent's own user can
// write it. It joins what is protected from being mounted.
func Load(path string) (*Policy, error) {
	data, err := read(path)
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w", ErrFile, path, err)
	}
	p, err := Parse(path, data)
	if err != nil {
		return nil, err
	}
	if full, err := filepath.Abs(path); err == nil {
		p.Protect(full)
	}
	return p, nil
}

func read(path string) ([]byte, error) {
	// Without waiting: it might be a pipe.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, errors.Unwrap(err) // the path is told already
	}
	defer f.Close()
	info, err := f.Stat() // of what was opened, and of nothing that takes its place
	if err != nil {
		return nil, err
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{path, real} {
		folder, err := os.Stat(filepath.Dir(name))
		if err != nil {
			return nil, err
		}
		if err := trusted(info, folder, os.Geteuid()); err != nil {
			return nil, err
		}
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, err
	case len(data) > maxFile:
		return nil, fmt.Errorf("it is longer than %d bytes", maxFile)
	}
	return data, nil
}

// othersWrite are the permissions that let group or world write.
const othersWrite = 0o022

// trusted says no to a file that somebody but root and user can change.
func trusted(file, folder fs.FileInfo, user int) error {
	if !file.Mode().IsRegular() {
		return errors.New("it is no regular file")
	}
	if file.Mode().Perm()&othersWrite != 0 {
		return fmt.Errorf("others may write it (mode %04o): chmod go-w", file.Mode().Perm())
	}
	// In a folder with the sticky bit others can't put another file in its place.
	if folder.Mode().Perm()&0o002 != 0 && folder.Mode()&fs.ModeSticky == 0 {
		return fmt.Errorf("everybody may write its folder (mode %04o): chmod o-w", folder.Mode().Perm())
	}
	for _, info := range []fs.FileInfo{file, folder} {
		if owner, ok := owner(info); ok && owner != 0 && owner != user {
			return fmt.Errorf("%s belongs to user %d: it and its folder must belong to root or to the agent's user %d", info.Name(), owner, user)
		}
	}
	return nil
}

func owner(info fs.FileInfo) (int, bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(stat.Uid), true
}
