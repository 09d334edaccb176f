package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/slipway-ci/slipway/backend"
)

// Capacity tells how many more runners Config.MaxRunners allows, see
// backend.Sizer; errors.ErrUnsupported where it is 0.
func (b *Backend) Capacity(ctx context.Context, specs []backend.Spec) ([]int, error) {
	if b.config.MaxRunners == 0 {
		return nil, fmt.Errorf("capacity: Config.MaxRunners is not set: %w", errors.ErrUnsupported)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("capacity: %w", err)
	}
	live, err := liveRunners(b.config.Dir, "")
	if err != nil {
		return nil, fmt.Errorf("capacity: %w", err)
	}
	room := make([]int, len(specs))
	for i := range room {
		room[i] = max(b.config.MaxRunners-live, 0)
	}
	return room, nil
}

// room is the right to take up room: nobody else does meanwhile.
type room struct {
	lock *lockFile // nil where there is no bound
	root string
	max  int
}

func (b *Backend) lockRoom(ctx context.Context) (room, error) {
	if b.config.MaxRunners == 0 {
		return room{}, nil
	}
	r := room{root: b.config.Dir, max: b.config.MaxRunners}
	err := retry(ctx, func() (err error) {
		r.lock, err = tryLock(filepath.Join(r.root, "room"), true)
		return err
	})
	if err != nil && !errors.Is(err, ctx.Err()) {
		err = unmade(err)
	}
	return r, err
}

// check returns ErrExhausted when the runner id would be one too many.
func (r room) check(id string) error {
	if r.lock == nil {
		return nil
	}
	live, err := liveRunners(r.root, id)
	if err != nil {
		return unmade(err)
	}
	if live >= r.max {
		return fmt.Errorf("%w: %d runners live, at most %d may", backend.ErrExhausted, live, r.max)
	}
	return nil
}

func (r room) release() {
	if r.lock != nil {
		r.lock.release()
	}
}

// liveRunners counts the runners of all owners that hold a slot, except one.
func liveRunners(root, except string) (int, error) {
	owners, err := os.ReadDir(root)
	if err != nil {
		return 0, err
	}
	live := 0
	for _, owner := range owners {
		names, err := ids(filepath.Join(root, owner.Name()))
		if !owner.IsDir() || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, err
		}
		for _, id := range names {
			f := folder{path: filepath.Join(root, owner.Name())}
			st, err := readState(f.runner(id))
			if err != nil && f.lives(id) {
				st, err = f.lost(id, err)
			}
			if err == nil && id != except && st.runner().State.HoldsSlot() {
				live++
			}
		}
	}
	return live, nil
}
