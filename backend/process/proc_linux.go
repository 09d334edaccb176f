package process

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// lookup reads one line of the process table.
func lookup(pid int) (proc, error) {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return proc{}, err
	}
	return parseStat(pid, string(data))
}

// parseStat reads /proc/<pid>/stat, see proc_pid_stat(5). The second field is
// the program's name in brackets and may hold anything.
func parseStat(pid int, line string) (proc, error) {
	_, rest, ok := cutLast(line, ")")
	fields := strings.Fields(rest)
	const state, parent, start = 0, 1, 19 // fields 3, 4 and 22
	if !ok || len(fields) <= start {
		return proc{}, fmt.Errorf("process %d: bad stat line", pid)
	}
	ppid, err := strconv.Atoi(fields[parent])
	if err != nil {
		return proc{}, fmt.Errorf("process %d: %w", pid, err)
	}
	since, err := strconv.ParseUint(fields[start], 10, 64)
	if err != nil {
		return proc{}, fmt.Errorf("process %d: %w", pid, err)
	}
	dead := fields[state] == "Z" || fields[state] == "X"
	return proc{ident: ident{Pid: pid, Start: since}, parent: ppid, zombie: dead}, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// processes reads the process table.
func processes() ([]proc, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var table []proc
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if p, err := lookup(pid); err == nil { // else it has just ended
			table = append(table, p)
		}
	}
	return table, nil
}

// hasEnv says whether the environment that the process began with has one of
// the settings. What may not be read counts as no.
func hasEnv(pid int, settings []string) bool {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "environ"))
	if err != nil {
		return false
	}
	for entry := range bytes.SplitSeq(data, []byte{0}) {
		for _, setting := range settings {
			if string(entry) == setting {
				return true
			}
		}
	}
	return false
}

// signalTo sends sig to exactly the process id: nil where that has ended, even
// if its pid is in use again.
func signalTo(id ident, sig syscall.Signal) error { return signalIf(id, sig, id.alive) }

// signalHolder sends sig to the supervisor id, which holds the lock at path. It
// hides its memory, and so itself, where /proc is mounted with hidepid=2: then
// the lock proves that it lives.
func signalHolder(id ident, path string, sig syscall.Signal) error {
	return signalIf(id, sig, func() bool {
		if _, err := lookup(id.Pid); !errors.Is(err, fs.ErrNotExist) {
			return id.alive()
		}
		busy, err := held(path)
		return busy && err == nil
	})
}

// signalIf sends sig to id if really says that it is the one.
func signalIf(id ident, sig syscall.Signal, really func() bool) error {
	if id.Pid <= 0 {
		return nil
	}
	fd, err := unix.PidfdOpen(id.Pid, 0)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) {
		return nil
	}
	if err == nil {
		defer unix.Close(fd)
	}
	if !really() { // looked at while the pidfd holds the process fast
		return nil
	}
	if err == nil {
		err = unix.PidfdSendSignal(fd, sig, nil, 0)
	} else { // before Linux 5.3
		err = unix.Kill(id.Pid, sig)
	}
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

// bootID names this boot of the machine: start times count from it.
func bootID() string {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
