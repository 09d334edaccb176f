package process

import (
	"os"
	"syscall"
)

// subreapers says whether a process can become the parent of the descendants
// whose own parents end.
const subreapers = false

// selfPath is this program.
func selfPath() (string, error) { return os.Executable() }

// guard does nothing: this system has no subreapers.
func guard() error { return nil }

// runnerAttr puts the runner into a session of its own.
func runnerAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true}
}
