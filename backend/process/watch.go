package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"time"
)

// Watch hints at changes, see backend.Watcher. It is told by the kernel where
// that can be had, else it looks once a second.
func (b *Backend) Watch(ctx context.Context, wake func()) error {
	err := watchFolder(ctx, filepath.Join(b.folder.path, locksName), wake)
	if errors.Is(err, errors.ErrUnsupported) {
		err = b.poll(ctx, time.Second, wake)
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return fmt.Errorf("watch runners: %w", err)
}

// poll wakes when a state file, or who looks after it, has changed.
func (b *Backend) poll(ctx context.Context, interval time.Duration, wake func()) error {
	last := map[string]string{}
	wake()
	for first := true; ; first = false {
		now, err := b.glance()
		if err != nil {
			return err
		}
		if !first && !maps.Equal(last, now) {
			wake()
		}
		last = now
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(interval):
		}
	}
}

// glance tells what a change of a runner would change.
func (b *Backend) glance() (map[string]string, error) {
	names, err := ids(b.folder.path)
	if err != nil {
		return nil, err
	}
	seen := map[string]string{}
	for _, id := range names {
		info, err := os.Stat(statePath(b.folder.runner(id)))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		busy, err := held(b.folder.lock(id))
		if err != nil {
			return nil, err
		}
		seen[id] = fmt.Sprint(info.ModTime().UnixNano(), busy)
	}
	return seen, nil
}
