package enginetest

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// bridge makes a network bridge of the test's own, which is gone with it. An
// engine that is told to have none takes away the machine's docker0, whoever's
// that is.
func bridge(t testing.TB, name string) {
	t.Helper()
	call := func(request uintptr) error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
		text, err := unix.BytePtrFromString(name)
		if err != nil {
			return err
		}
		// net/bridge/br_ioctl.c: the argument is the name.
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(unsafe.Pointer(text))); errno != 0 {
			return errno
		}
		return nil
	}
	require.NoError(t, call(unix.SIOCBRADDBR), "make a network bridge")
	t.Cleanup(func() {
		if err := down(name); err != nil {
			t.Errorf("take down bridge %s: %v", name, err)
		}
		if err := call(unix.SIOCBRDELBR); err != nil {
			t.Errorf("remove bridge %s: %v", name, err)
		}
	})
}

// down takes a device down: a bridge that is up can't be removed.
func down(name string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	request, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, request); err != nil {
		return err
	}
	request.SetUint16(request.Uint16() &^ unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request)
}
