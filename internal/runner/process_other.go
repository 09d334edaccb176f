//go:build unix && !linux

package runner

import "syscall"

// Without a subreaper only the job's process group can be ended.

func adopt() error { return nil }

func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func reap(int) (stop func()) { return func() {} }

func killDescendants(group int) {
	if group > 0 {
		_ = syscall.Kill(-group, syscall.SIGKILL)
	}
}
