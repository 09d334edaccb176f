package process

import (
	"bytes"
	"errors"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

const zombieState = 5 // SZOMB of sys/proc.h

func fromKinfo(k *unix.KinfoProc) proc {
	start := k.Proc.P_starttime
	return proc{
		ident:  ident{Pid: int(k.Proc.P_pid), Start: uint64(start.Sec)*1e6 + uint64(start.Usec)},
		parent: int(k.Eproc.Ppid),
		zombie: k.Proc.P_stat == zombieState,
	}
}

// lookup reads one line of the process table.
func lookup(pid int) (proc, error) {
	k, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil {
		return proc{}, err
	}
	return fromKinfo(k), nil
}

// processes reads the process table.
func processes() ([]proc, error) {
	all, err := unix.SysctlKinfoProcSlice("kern.proc.all")
	if err != nil {
		return nil, err
	}
	table := make([]proc, 0, len(all))
	for i := range all {
		table = append(table, fromKinfo(&all[i]))
	}
	return table, nil
}

// hasEnv says whether the environment that the process began with has one of
// the settings. What may not be read counts as no.
func hasEnv(pid int, settings []string) bool {
	data, err := unix.SysctlRaw("kern.procargs2", pid)
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

// signalTo sends sig to the process id: nil where that has ended.
func signalTo(id ident, sig syscall.Signal) error {
	if !id.alive() {
		return nil
	}
	if err := unix.Kill(id.Pid, sig); !errors.Is(err, unix.ESRCH) {
		return err
	}
	return nil
}

// signalHolder sends sig to the supervisor id, which holds the lock at path.
func signalHolder(id ident, _ string, sig syscall.Signal) error { return signalTo(id, sig) }

// bootID names this boot of the machine.
func bootID() string {
	tv, err := unix.SysctlTimeval("kern.boottime")
	if err != nil {
		return ""
	}
	return strconv.FormatInt(tv.Sec, 10)
}
