package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/slipway-ci/slipway/backend"
)

// List tells every runner of this owner, see backend.Backend. A runner whose
// supervisor was killed is ended here, and told as failed. One whose state can't
// be read while its supervisor lives is Unknown.
func (b *Backend) List(ctx context.Context) (backend.Listing, error) {
	children.collect()
	listing := backend.Listing{Began: time.Now()}
	names, err := ids(b.folder.path) // sorted
	if err != nil {
		return backend.Listing{}, fmt.Errorf("list runners: %w", err)
	}
	seen := map[string]state{}
	for _, id := range names {
		if err := ctx.Err(); err != nil {
			return backend.Listing{}, fmt.Errorf("list runners: %w", err)
		}
		st, err := b.observe(ctx, id)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errForeign) {
			continue
		}
		if err != nil {
			return backend.Listing{}, fmt.Errorf("list runners: %s: %w", id, err)
		}
		listing.Runners, seen[id] = append(listing.Runners, st.runner()), *st
	}
	b.remember(seen)
	b.prune(ctx)
	return listing, nil
}

// observe reads the state of the runner id, and makes it true where nobody
// looks after it.
func (b *Backend) observe(ctx context.Context, id string) (*state, error) {
	st, err := b.look(id)
	if err != nil || st.Phase == phaseEnded || st.Phase == phaseCreated {
		return st, err
	}
	if busy, err := held(b.folder.lock(id)); busy || err != nil {
		return st, err
	}
	lock, err := tryLock(b.folder.lock(id), false)
	if errors.Is(err, errBusy) || errors.Is(err, fs.ErrNotExist) {
		return b.look(id) // who has it knows better
	}
	if err != nil {
		return nil, err
	}
	defer lock.release()
	st, err = b.own(id)
	if err != nil || st.Phase == phaseEnded || st.Phase == phaseCreated {
		return st, err
	}
	if err := b.bury(ctx, id, st); err != nil {
		b.log.Warn("end runner without supervisor", "runner", id, "err", err)
		st.Phase = phaseStopping // until the next look
	}
	return st, nil
}

const (
	pruneInterval = 10 * time.Minute
	spentFor      = 24 * time.Hour
)

// prune finishes what removals and launches have left undone, and forgets ids
// that were spent long ago.
func (b *Backend) prune(ctx context.Context) {
	b.mu.Lock()
	due := time.Since(b.pruned) >= pruneInterval
	if due {
		b.pruned = time.Now()
	}
	b.mu.Unlock()
	if !due {
		return
	}
	for _, path := range []string{newName, trashName, locksName} {
		names, err := ids(b.folder.path + string(os.PathSeparator) + path)
		if err != nil {
			b.log.Warn("tidy up", "err", err)
			return
		}
		for _, id := range names {
			if ctx.Err() != nil {
				return
			}
			if err := b.pruneOne(id); err != nil && !errors.Is(err, errBusy) {
				b.log.Warn("tidy up", "runner", id, "err", err)
			}
		}
	}
}

func (b *Backend) pruneOne(id string) error {
	lock, err := tryLock(b.folder.lock(id), false)
	if errors.Is(err, fs.ErrNotExist) {
		if lock, err = tryLock(b.folder.lock(id), true); err != nil {
			return err
		}
		defer lock.drop()
	} else if err != nil {
		return err
	} else {
		defer lock.release()
	}
	if err := errors.Join(removeTree(b.folder.fresh(id)), removeTree(b.folder.trash(id))); err != nil {
		return err
	}
	if _, err := os.Lstat(b.folder.runner(id)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	info, err := lock.file.Stat()
	if err == nil && time.Since(info.ModTime()) > spentFor {
		err = os.Remove(lock.path)
	}
	return err
}
