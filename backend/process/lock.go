package process

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lockFile is a lock that we hold. The lock belongs to the open file, not to the
// process: a supervisor that inherits the file holds it on, and it is free when
// the last holder is gone.
type lockFile struct {
	file *os.File
	path string
}

// tryLock takes the lock at path. errBusy: somebody holds it. With create the
// file is made if absent, and writable: the kernel then tells Watch when its
// last holder has gone. Without, fs.ErrNotExist says that it is absent.
func tryLock(path string, create bool) (*lockFile, error) {
	flags := os.O_RDONLY
	if create {
		flags = os.O_RDWR | os.O_CREATE
	}
	for {
		f, err := os.OpenFile(path, flags, 0o600)
		if err != nil {
			return nil, err
		}
		if err := flock(f, unix.LOCK_EX); err != nil {
			f.Close()
			return nil, err
		}
		l := &lockFile{file: f, path: path}
		if l.current() {
			return l, nil
		}
		l.release() // it was removed before we had it
	}
}

// flock locks without waiting.
func flock(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EWOULDBLOCK):
			return errBusy
		default:
			return err
		}
	}
}

// current says whether the file is still the one at its path.
func (l *lockFile) current() bool {
	mine, err := l.file.Stat()
	if err != nil {
		return false
	}
	theirs, err := os.Stat(l.path)
	return err == nil && os.SameFile(mine, theirs)
}

// spent says whether the runner was ever started.
func (l *lockFile) spent() (bool, error) {
	info, err := l.file.Stat()
	if err != nil {
		return false, err
	}
	return info.Size() > 0, nil
}

// release frees the lock, also where a process that is just being started has
// a copy of the file.
func (l *lockFile) release() {
	_ = unix.Flock(int(l.file.Fd()), unix.LOCK_UN)
	l.file.Close()
}

// handOver closes our copy of the file and leaves the lock to the process that
// has inherited it.
func (l *lockFile) handOver() { l.file.Close() }

// drop removes the lock file, and frees the lock.
func (l *lockFile) drop() error {
	defer l.release()
	return os.Remove(l.path)
}

// held says whether somebody holds the lock at path.
func held(path string) (bool, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	err = flock(f, unix.LOCK_SH)
	if errors.Is(err, errBusy) {
		return true, nil
	}
	if err == nil {
		_ = unix.Flock(int(f.Fd()), unix.LOCK_UN)
	}
	return false, err
}

// retry calls try until it answers something else than errBusy, with growing
// pauses.
func retry(ctx context.Context, try func() error) error {
	for pause := 2 * time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := try(); !errors.Is(err, errBusy) {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}
