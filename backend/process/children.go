package process

import (
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// children are the supervisors that this process has started and not collected,
// with the path of their runner's lock. They outlive Backends, and are children
// of the process, not of a Backend: hence the global. No goroutine waits for
// them; List and Remove collect those that have ended.
var children = zombies{locks: map[int]string{}}

type zombies struct {
	mu    sync.Mutex
	locks map[int]string // by pid
}

func (z *zombies) add(lock string, p *os.Process) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.locks[p.Pid] = lock
	_ = p.Release()
}

// collect takes those that have ended out of the process table.
func (z *zombies) collect() {
	z.mu.Lock()
	defer z.mu.Unlock()
	for pid := range z.locks {
		if got, err := wait(pid, unix.WNOHANG); got == pid || err != nil {
			delete(z.locks, pid)
		}
	}
}

// bid waits for the supervisors of a lock that is free: they are ending.
func (z *zombies) bid(lock string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	for pid, path := range z.locks {
		if path == lock {
			_, _ = wait(pid, 0)
			delete(z.locks, pid)
		}
	}
}

func wait(pid, options int) (int, error) {
	for {
		got, err := unix.Wait4(pid, nil, options, nil)
		if !errors.Is(err, unix.EINTR) {
			return got, err
		}
	}
}
