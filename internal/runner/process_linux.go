package runner

import (
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// adopt makes this process the parent of its descendants' orphans.
func adopt() error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// reap collects orphans that ended until the returned function is called. The
// job's main process is left to who waits for it.
func reap(main int) (stop func()) {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD)
	done := make(chan struct{})
	var reaping sync.WaitGroup
	reaping.Go(func() {
		for {
			reapAll(main)
			select {
			case <-ended:
			case <-done:
				return
			}
		}
	})
	return func() {
		signal.Stop(ended)
		close(done)
		reaping.Wait()
	}
}

// reapAll takes every child that has ended except one.
func reapAll(except int) {
	for _, p := range processes() {
		if p.parent == os.Getpid() && p.zombie && p.pid != except {
			_, _ = syscall.Wait4(p.pid, nil, syscall.WNOHANG, nil)
		}
	}
}

// killDescendants ends all that came from this process and waits for it. New
// ones may appear while it looks, so it looks until there are none, for a while:
// a process in an uninterruptible wait does not end.
func killDescendants(int) {
	for pause := time.Millisecond; pause < 2*time.Second; pause *= 2 {
		reapAll(0)
		found := descendants(os.Getpid())
		if len(found) == 0 {
			return
		}
		for _, pid := range found {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		time.Sleep(pause)
	}
}

type stat struct {
	pid, parent int
	zombie      bool
}

// descendants are the processes below root, zombies left out that their own
// parent has yet to collect.
func descendants(root int) []int {
	children := map[int][]stat{}
	for _, p := range processes() {
		children[p.parent] = append(children[p.parent], p)
	}
	var found []int
	next := []int{root}
	for len(next) > 0 {
		pid := next[0]
		next = next[1:]
		for _, p := range children[pid] {
			next = append(next, p.pid)
			if !p.zombie {
				found = append(found, p.pid)
			}
		}
	}
	return found
}

func processes() []stat {
	entries, _ := os.ReadDir("/proc")
	var all []stat
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		text, err := os.ReadFile("/proc/" + entry.Name() + "/stat")
		if err != nil {
			continue
		}
		// pid (name, which may hold anything) state parent …, see proc_pid_stat(5)
		_, rest, _ := strings.Cut(string(text[strings.LastIndexByte(string(text), ')')+1:]), " ")
		fields := strings.Fields(rest)
		if len(fields) < 2 {
			continue
		}
		parent, err := strconv.Atoi(fields[1])
		if err == nil {
			all = append(all, stat{pid, parent, fields[0] == "Z"})
		}
	}
	return all
}
