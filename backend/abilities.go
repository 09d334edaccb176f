package backend

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// Watcher is the ability to hint at changes.
type Watcher interface {
	// Watch calls wake after something may have changed, and once after each
	// (re)connect to the engine, until ctx ends or the connection breaks; then
	// it returns the reason. wake carries no state, must not block, and may be
	// called too often. The caller calls Watch again after a pause.
	Watch(ctx context.Context, wake func()) error
}

// Watch hints at changes of b, as Watcher says, or returns
// errors.ErrUnsupported at once.
func Watch(ctx context.Context, b Backend, wake func()) error {
	w, ok := b.(Watcher)
	if !ok {
		return unsupported("watch")
	}
	return w.Watch(ctx, wake)
}

// Sizer is the ability to tell how much room there is.
type Sizer interface {
	// Capacity tells for each spec (its ID and Env are empty; its Labels are those
	// that all runners of the kind have) how many more
	// such runners could be launched now, each taken for itself. A host that
	// can't be observed has no room; it does not zero the others'.
	Capacity(ctx context.Context, specs []Spec) ([]int, error)
}

// Capacity tells b's room, as Sizer says, or errors.ErrUnsupported: then the
// caller's own bounds are the only ones.
func Capacity(ctx context.Context, b Backend, specs []Spec) ([]int, error) {
	s, ok := b.(Sizer)
	if !ok {
		return nil, unsupported("capacity")
	}
	return s.Capacity(ctx, specs)
}

// Preparer is the ability to fetch images ahead.
type Preparer interface {
	// Prepare returns nil when a Launch of such a spec (its ID and Env are
	// empty, as for Capacity) has nothing left to fetch. One image is fetched once at a time
	// however many ask; a caller whose ctx ends stops waiting, and the others'
	// fetch goes on. Errors are those of Launch.
	Prepare(ctx context.Context, spec Spec) error
}

// Prepare fetches what a launch of spec on b needs, as Preparer says, or
// returns errors.ErrUnsupported: then there is nothing to fetch.
func Prepare(ctx context.Context, b Backend, spec Spec) error {
	p, ok := b.(Preparer)
	if !ok {
		return unsupported("prepare")
	}
	return p.Prepare(ctx, spec)
}

// Logger is the ability to tell what a runner printed.
type Logger interface {
	// Logs returns the last tail lines (0: all) of what the runner has printed
	// so far, stdout and stderr in order. The caller closes it. An unknown id is
	// fs.ErrNotExist.
	Logs(ctx context.Context, id string, tail int) (io.ReadCloser, error)
}

// Logs tells what the runner id of b printed, as Logger says, or
// errors.ErrUnsupported.
func Logs(ctx context.Context, b Backend, id string, tail int) (io.ReadCloser, error) {
	l, ok := b.(Logger)
	if !ok {
		return nil, unsupported("logs")
	}
	return l.Logs(ctx, id, tail)
}

// Blamer is the ability to hold a failure against the place where it happened, so
// that other places go on. Its methods answer from memory: they don't wait.
type Blamer interface {
	// Crashed tells that the runner started and came to nothing, and why. True: the
	// place waits with such runners by itself, longer with each; false: it can't
	// tell the place, and the caller has to wait.
	Crashed(id, reason string) bool
	// Proved tells that the runner came to something: its place is fine.
	Proved(id string)
}

func unsupported(ability string) error {
	return fmt.Errorf("backend: %s: %w", ability, errors.ErrUnsupported)
}
