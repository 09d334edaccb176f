package process

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// watchFolder wakes on what supervisors do to the locks: they touch them when
// the state changes, and the kernel closes them when they end, however that is.
// errors.ErrUnsupported: the kernel has no watch left for us.
func watchFolder(ctx context.Context, dir string, wake func()) error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return fmt.Errorf("%w: inotify: %w", errors.ErrUnsupported, err)
	}
	events := os.NewFile(uintptr(fd), "inotify")
	defer events.Close()
	const mask = unix.IN_ATTRIB | unix.IN_CLOSE_WRITE | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR
	if _, err := unix.InotifyAddWatch(fd, dir, mask); errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("%w: inotify: %w", errors.ErrUnsupported, err)
	} else if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { events.Close() })()
	wake()
	buf := make([]byte, 64<<10)
	for {
		if _, err := events.Read(buf); err != nil {
			return err
		}
		if _, err := os.Stat(dir); err != nil {
			return err
		}
		wake()
	}
}
