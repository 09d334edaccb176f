package agentd

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// inherited are the children that this process had before it became this program:
// supervisors of the process backend. Nobody else waits for them. They are the
// process's, not an agent's: hence the global.
var inherited = struct {
	sync.Mutex
	pids map[int]bool
}{pids: map[int]bool{}}

// adoptChildren notes the children there are. Called once, before any is started.
func adoptChildren() {
	inherited.Lock()
	defer inherited.Unlock()
	files, _ := filepath.Glob("/proc/self/task/*/children") // the pattern is sound
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for _, field := range strings.Fields(string(data)) {
			if pid, err := strconv.Atoi(field); err == nil {
				inherited.pids[pid] = true
			}
		}
	}
}

// reap takes those that have ended out of the process table.
func reap() {
	inherited.Lock()
	defer inherited.Unlock()
	for pid := range inherited.pids {
		if got, err := unix.Wait4(pid, nil, unix.WNOHANG, nil); got == pid || err == unix.ECHILD {
			delete(inherited.pids, pid)
		}
	}
}
