package process

import (
	"encoding/gob"
	"errors"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// supervisorName is the first argument of a supervisor; the runner's id is the
// second. It shows in process listings.
const supervisorName = "slipway-process-supervisor"

// The files that a supervisor inherits beside the standard ones, of which
// stdin brings the order.
const (
	lockFD   = 3
	statusFD = 4
)

// mainCalled is global since so is main: it is about this process.
var mainCalled atomic.Bool

// Main makes this process a supervisor if it was started as one, and then never
// returns. Else it returns at once. A program that uses this package calls it
// first thing in main, before it reads flags, writes anything or starts
// goroutines; tests do in TestMain.
func Main() {
	mainCalled.Store(true)
	if len(os.Args) != 2 || os.Args[0] != supervisorName {
		return
	}
	// At once: nothing that this program does at its end is the supervisor's, and
	// whoever waits for the lock waits for this.
	syscall.Exit(supervise(os.Args[1]))
}

// order is what a supervisor is told, through a pipe: it holds secrets.
type order struct {
	ID, Dir, Lock string
	Program       string
	Argv, Env     []string
	Grace         time.Duration
	LogBytes      int64
}

// answer is what the supervisor says back, once.
type answer struct {
	// Error is empty: the runner was started. Else it was not and will not be.
	Error string
	// Invalid says that this command can never be started.
	Invalid bool
	// Exhausted says that it may work when others have ended.
	Exhausted bool
}

// startError is the system's refusal to start the command.
type startError struct{ error }

func (e *startError) Unwrap() error { return e.error }

func failed(err error) answer {
	var start *startError
	lack := exhausted(err)
	return answer{Error: err.Error(), Invalid: errors.As(err, &start) && !lack, Exhausted: lack}
}

// supervise is the main of a supervisor.
func supervise(id string) int {
	unix.CloseOnExec(lockFD)
	unix.CloseOnExec(statusFD)
	closeInherited()
	lock := &lockFile{file: os.NewFile(lockFD, "lock")}
	status := os.NewFile(statusFD, "status")
	if lock.file == nil || status == nil {
		return 2
	}
	reply := func(a answer) {
		_ = gob.NewEncoder(status).Encode(a)
		status.Close()
	}
	if err := guard(); err != nil {
		reply(failed(err))
		return 1
	}
	var o order
	if err := gob.NewDecoder(os.Stdin).Decode(&o); err != nil || o.ID != id {
		return 2 // who launched us is gone, and has sent no whole order
	}
	os.Stdin.Close()
	lock.path = o.Lock
	s, err := newSupervisor(o, lock)
	if err != nil {
		reply(failed(err))
		return 1
	}
	return s.run(reply)
}

// closeInherited closes the files that came with us by accident, since whoever
// opened them in a parent did not say that they end there.
func closeInherited() {
	dir, err := os.Open("/dev/fd")
	if err != nil {
		return
	}
	names, _ := dir.Readdirnames(-1)
	dir.Close()
	for _, name := range names {
		fd, err := strconv.Atoi(name)
		if err != nil || fd <= statusFD {
			continue
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err == nil && flags&unix.FD_CLOEXEC == 0 {
			unix.Close(fd)
		}
	}
}
