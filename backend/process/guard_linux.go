package process

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// subreapers says whether a process can become the parent of the descendants
// whose own parents end.
const subreapers = true

// selfPath is this program, also when its file was replaced or removed since.
func selfPath() (string, error) { return "/proc/self/exe", nil }

// guard makes this process the parent of all descendants whose own parent ends,
// and its memory unreadable: it holds the runner's secrets for a moment.
func guard() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become a subreaper: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("hide memory: %w", err)
	}
	return nil
}

// runnerAttr puts the runner into a session of its own. It dies with the thread
// that starts it, hence with the supervisor.
func runnerAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
}
