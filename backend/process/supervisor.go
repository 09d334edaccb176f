package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// supervisor looks after one runner, in a process of its own.
type supervisor struct {
	order order
	lock  *lockFile
	stop  chan os.Signal // asked to end the runner

	mu    sync.Mutex // guards state and dirty
	state *state
	dirty bool // the file lags behind

	main  ident
	ended chan struct{} // closed when the main process has ended
	gone  chan struct{} // closed when no descendant is left
}

func newSupervisor(o order, lock *lockFile) (*supervisor, error) {
	st, err := readState(o.Dir)
	if err != nil {
		return nil, err
	}
	me, err := lookup(os.Getpid())
	if err != nil {
		return nil, err
	}
	st.Phase, st.Boot, st.Supervisor = phaseSpawning, bootID(), me.ident
	s := &supervisor{
		order: o, lock: lock, state: st, stop: make(chan os.Signal, 1),
		ended: make(chan struct{}), gone: make(chan struct{}),
	}
	return s, nil
}

// run starts the runner, answers, and returns when nothing of it is left.
func (s *supervisor) run(reply func(answer)) int {
	// The runner dies with the thread that starts it.
	runtime.LockOSThread()
	signal.Notify(s.stop, unix.SIGTERM)
	signal.Notify(make(chan os.Signal, 1), unix.SIGINT, unix.SIGHUP, unix.SIGPIPE, unix.SIGQUIT)
	for _, dir := range []string{homeDir(s.order.Dir), tmpDir(s.order.Dir)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return s.giveUp(reply, err)
		}
	}
	// From here on nobody may start it again, whatever becomes of us.
	if err := s.spend(); err != nil {
		return s.giveUp(reply, err)
	}
	printed, err := s.spawn()
	if err != nil {
		return s.giveUp(reply, err)
	}
	s.order.Env = nil // not needed any more
	s.update(func(st *state) { st.Phase, st.Main, st.Started = phaseRunning, s.main, after(st.Created) })
	reply(answer{})
	go s.control()
	s.reap()
	close(s.gone)
	s.sweep()
	select { // who has fled with our pipe does not hold us up
	case <-printed:
	case <-time.After(time.Second):
	}
	s.finish()
	return 0
}

// after is now, by a clock that does not go back behind t.
func after(t time.Time) time.Time {
	if now := time.Now(); now.After(t) {
		return now
	}
	return t
}

// spend marks the id as used and writes the state, both to the disk.
func (s *supervisor) spend() error {
	if err := s.state.write(s.order.Dir); err != nil {
		return err
	}
	if _, err := s.lock.file.WriteAt([]byte("started\n"), 0); err != nil {
		return err
	}
	return s.lock.file.Sync()
}

// giveUp takes back what spend did: no process was started.
func (s *supervisor) giveUp(reply func(answer), err error) int {
	_ = s.lock.file.Truncate(0)
	s.update(func(st *state) {
		st.Phase = phaseCreated
		st.end(nil, err.Error())
	})
	reply(failed(err))
	return 1
}

// spawn starts the runner. The channel is closed when its output is written.
func (s *supervisor) spawn() (<-chan struct{}, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	o := s.order
	pid, err := syscall.ForkExec(o.Program, o.Argv, &syscall.ProcAttr{
		Dir: homeDir(o.Dir), Env: o.Env, Sys: runnerAttr(),
		Files: []uintptr{null.Fd(), w.Fd(), w.Fd()},
	})
	if err != nil {
		r.Close()
		return nil, &startError{fmt.Errorf("start %s: %w", o.Program, err)}
	}
	p, _ := lookup(pid) // it is there: nobody has waited for it yet
	s.main = ident{Pid: pid, Start: p.Start}
	printed := make(chan struct{})
	go func() {
		defer close(printed)
		out := newOutput(o.Dir, o.LogBytes)
		defer out.close()
		_, _ = io.Copy(out, r)
	}()
	return printed, nil
}

// reap waits for everything that is or becomes our child, until there is none:
// then no descendant is left, where there are subreapers. It notes how the main
// process ended.
func (s *supervisor) reap() {
	for ended := false; ; {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return
		}
		if pid == s.main.Pid && !ended { // its pid may be in use again
			ended = true
			code := exitCode(status)
			s.mu.Lock()
			s.state.end(&code, "")
			s.mu.Unlock()
			close(s.ended)
		}
	}
}

func exitCode(status unix.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

// control ends the runner when asked, and what it leaves behind when it ends.
func (s *supervisor) control() {
	s.untilStop()
	pause := 5 * time.Millisecond
	for {
		_, _ = endAll(ownDescendants) // what may not be killed is waited for
		s.killMain()
		select {
		case <-s.gone:
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, time.Second)
	}
}

// killMain kills the main process by its pid alone, which is its own until we
// have waited for it: it may hide itself, so that the process table does not
// show it.
func (s *supervisor) killMain() {
	select {
	case <-s.ended:
	default:
		_ = unix.Kill(s.main.Pid, unix.SIGKILL)
	}
}

// sweep ends what has left the tree, where that is possible.
func (s *supervisor) sweep() {
	if subreapers {
		return
	}
	_ = endMarked(context.Background(), s.order.Dir, s.main)
}

// untilStop returns when the main process has ended, or was asked to and had its
// time.
func (s *supervisor) untilStop() {
	for {
		select {
		case <-s.ended:
			return
		case <-s.stop:
			s.update(func(st *state) { st.Phase = phaseStopping })
			_ = unix.Kill(-s.main.Pid, unix.SIGTERM)
			select {
			case <-s.ended:
			case <-time.After(s.order.Grace):
			}
			return
		case <-s.retry():
			s.update(func(*state) {})
		}
	}
}

// retry fires when the state should be written again.
func (s *supervisor) retry() <-chan time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.dirty {
		return nil
	}
	return time.After(time.Second)
}

// update changes the state, and writes it as far as the disk allows.
func (s *supervisor) update(change func(*state)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s.state)
	s.dirty = s.state.write(s.order.Dir) != nil
	now := time.Now()
	_ = os.Chtimes(s.order.Lock, now, now) // this is what Watch sees
	return !s.dirty
}

// finish writes how it ended. It does not go before that is on the disk: on a
// full one the runner's own files make room, which nobody needs any more, then
// its output. Where the folder is gone it gives up after a minute.
func (s *supervisor) finish() {
	rooms := []func(){
		func() { _, _ = removeTree(homeDir(s.order.Dir)), removeTree(tmpDir(s.order.Dir)) },
		func() { discardOutput(s.order.Dir) },
	}
	for lost := 0; !s.update(func(st *state) { st.Phase = phaseEnded }) && lost < 60; {
		if len(rooms) > 0 {
			rooms[0]()
			rooms = rooms[1:]
			continue
		}
		if _, err := os.Stat(s.order.Dir); errors.Is(err, os.ErrNotExist) {
			lost++
		}
		time.Sleep(time.Second)
	}
}
