package identity

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Lock is a folder taken. It ends with the process, however that ends.
type Lock struct{ file *os.File }

// Lock takes the folder for the agent that runs. ErrLocked: another one has it.
func (f *Folder) Lock() (*Lock, error) {
	return f.lock(lockName, unix.LOCK_EX|unix.LOCK_NB)
}

// Locked says whether an agent runs with this folder.
func (f *Folder) Locked() bool {
	lock, err := f.lock(lockName, unix.LOCK_SH|unix.LOCK_NB)
	if err != nil {
		return errors.Is(err, ErrLocked)
	}
	lock.Release()
	return false
}

func (f *Folder) lock(name string, how int) (*Lock, error) {
	file, err := os.OpenFile(f.Join(name), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock data folder: %w", err)
	}
	for err = unix.EINTR; errors.Is(err, unix.EINTR); {
		err = unix.Flock(int(file.Fd()), how)
	}
	if err == nil {
		return &Lock{file}, nil
	}
	_ = file.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("%w: %s", ErrLocked, f.path)
	}
	return nil, fmt.Errorf("lock data folder: %w", err)
}

// Release gives the folder back.
func (l *Lock) Release() { _ = l.file.Close() }

// change runs do while no other process changes the folder's files.
func (f *Folder) change(do func() error) error {
	lock, err := f.lock(writeLockName, unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer lock.Release()
	return do()
}
