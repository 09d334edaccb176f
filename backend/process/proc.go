package process

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// ident names one process for good: pids are used again, a pid with its start
// time is not, as long as the machine is up.
type ident struct {
	Pid   int    `json:"pid"`
	Start uint64 `json:"start"`
}

// proc is a line of the process table.
type proc struct {
	ident
	parent int
	zombie bool
}

// alive says whether id runs. It does not when it is a zombie.
func (id ident) alive() bool {
	if id.Pid <= 0 {
		return false
	}
	p, err := lookup(id.Pid)
	return err == nil && p.Start == id.Start && !p.zombie
}

// below returns the living descendants of the roots, the roots themselves left
// out.
func below(table []proc, roots ...int) []proc {
	children := map[int][]proc{}
	for _, p := range table {
		children[p.parent] = append(children[p.parent], p)
	}
	seen := map[int]bool{}
	for _, root := range roots {
		seen[root] = true
	}
	var found []proc
	for queue := roots; len(queue) > 0; queue = queue[1:] {
		for _, p := range children[queue[0]] {
			if seen[p.Pid] {
				continue
			}
			seen[p.Pid] = true
			queue = append(queue, p.Pid)
			if !p.zombie {
				found = append(found, p)
			}
		}
	}
	return found
}

// maxFreezes bounds how often endAll looks for what was forked meanwhile.
const maxFreezes = 20

// endAll kills what look finds, which it calls again and again: all of them are
// stopped first, until no new one appears, so that none forks while the others
// are killed. It returns how many there were.
func endAll(look func() ([]proc, error)) (int, error) {
	stopped := map[ident]bool{}
	var found []proc
	for range maxFreezes {
		var err error
		if found, err = look(); err != nil {
			return 0, err
		}
		fresh := false
		for _, p := range found {
			if !stopped[p.ident] {
				stopped[p.ident], fresh = true, true
				_ = signalTo(p.ident, syscall.SIGSTOP)
			}
		}
		if !fresh {
			break
		}
	}
	var errs []error
	for _, p := range found {
		if err := signalTo(p.ident, syscall.SIGKILL); err != nil {
			errs = append(errs, fmt.Errorf("kill process %d: %w", p.Pid, err))
		}
	}
	return len(found), errors.Join(errs...)
}

// ownDescendants looks for what this process has started, and what that has.
func ownDescendants() ([]proc, error) {
	table, err := processes()
	if err != nil {
		return nil, err
	}
	return below(table, os.Getpid()), nil
}
