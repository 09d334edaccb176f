package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Remove ends the runner and every process that it has started, and removes all
// of it but the mark that its id is spent, which stays for a day: see
// backend.Backend.
func (b *Backend) Remove(ctx context.Context, id string) error {
	if !validID(id) {
		return nil // such a runner never was
	}
	lock, err := b.seize(ctx, id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = b.dismantle(ctx, id, lock)
	}
	if err != nil {
		return fmt.Errorf("remove runner %s: %w", id, err)
	}
	return nil
}

// hangTime is how long a supervisor may take beyond the grace before it counts
// as hanging.
const hangTime = 15 * time.Second

// seize takes the runner's lock from whoever has it: a supervisor is told to end
// its runner and itself, and killed when it does not.
func (b *Backend) seize(ctx context.Context, id string) (*lockFile, error) {
	path := b.folder.lock(id)
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		// Without the folder nothing is known: then it is not gone.
		if _, err := os.Stat(filepath.Dir(path)); err != nil {
			return nil, fmt.Errorf("folder of locks: %w", hide(err))
		}
		if _, err := b.folder.read(id); err != nil {
			return nil, ignoreForeign(err)
		}
		return tryLock(path, true) // somebody has removed the lock
	}
	var lock *lockFile
	var asked ident
	hung := time.Now().Add(b.config.StopGrace + b.hang)
	err := retry(ctx, func() (err error) {
		if lock, err = tryLock(path, false); !errors.Is(err, errBusy) {
			return err
		}
		st, readErr := b.look(id)
		if readErr != nil || st.Boot != bootID() {
			return err // it is being made
		}
		if asked != st.Supervisor {
			asked = st.Supervisor
			// It may have been stopped by hand.
			return errors.Join(err, signalHolder(asked, path, syscall.SIGTERM), signalHolder(asked, path, syscall.SIGCONT))
		}
		if time.Now().After(hung) && asked.Pid > 0 {
			if hungErr := b.endHung(id, asked); hungErr != nil {
				return hungErr
			}
		}
		return err
	})
	return lock, err
}

// endHung ends a supervisor that does not end by itself, after all that it looks
// after, which could not be found without it. An error says what may not be
// ended, and then it is left to look after that.
func (b *Backend) endHung(id string, supervisor ident) error {
	left, err := endAll(func() ([]proc, error) {
		if !supervisor.alive() {
			return nil, nil // or hidden
		}
		table, err := processes()
		return below(table, supervisor.Pid), err
	})
	if err != nil || left > 0 {
		return err
	}
	b.log.Debug("supervisor of runner does not end: kill it", "runner", id)
	return signalHolder(supervisor, b.folder.lock(id), syscall.SIGKILL)
}

// hide keeps an error from being taken for "there is no such runner".
func hide(err error) error { return errors.New(err.Error()) }

func ignoreForeign(err error) error {
	if errors.Is(err, errForeign) {
		return fs.ErrNotExist
	}
	return err
}

// dismantle ends what is left of a runner, removes its files and frees its
// lock. The caller holds the lock, hence no supervisor lives.
func (b *Backend) dismantle(ctx context.Context, id string, lock *lockFile) error {
	freed := false
	defer func() {
		if !freed {
			lock.release()
		}
	}()
	children.bid(lock.path)
	st, err := b.own(id)
	switch {
	case err == nil:
		if err := b.endLeft(ctx, id, st); err != nil {
			return err
		}
		if err := b.discard(id); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errForeign):
		return err
	}
	// What an earlier removal did not finish is there, too.
	if err := removeTree(b.folder.trash(id)); err != nil {
		return err
	}
	spent, err := lock.spent()
	if err != nil {
		return err
	}
	freed = true
	if !spent {
		return lock.drop()
	}
	defer lock.release()
	if st == nil {
		return nil
	}
	now := time.Now()
	return os.Chtimes(lock.path, now, now) // the day begins, and Watch sees it
}

// discard moves the runner's folder out of sight: from here on it is not listed.
func (b *Backend) discard(id string) error {
	if err := removeTree(b.folder.trash(id)); err != nil {
		return err
	}
	return os.Rename(b.folder.runner(id), b.folder.trash(id))
}
