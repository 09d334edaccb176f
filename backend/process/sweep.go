package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// marked looks for the processes of the runner that lives in dir, without
// the help of its supervisor: those in whose environment it is named, or is the
// HOME (runners hide their own variables from jobs), main, and all that these
// have started. Never this process.
func marked(dir string, main ident) ([]proc, error) {
	table, err := processes()
	if err != nil {
		return nil, err
	}
	settings := []string{markerName + "=" + marker(dir), "HOME=" + homeDir(dir), "TMPDIR=" + tmpDir(dir)}
	var found []proc
	var roots []int
	self := os.Getpid()
	for _, p := range table {
		if p.Pid == self || p.zombie {
			continue
		}
		if p.ident == main || hasEnv(p.Pid, settings) {
			found, roots = append(found, p), append(roots, p.Pid)
		}
	}
	for _, p := range below(table, roots...) {
		if p.Pid != self {
			found = append(found, p)
		}
	}
	return found, nil
}

// sweepTime bounds the wait for what was killed.
const sweepTime = 2 * time.Second

// endMarked kills what is marked, and returns nil when nothing is left: when two
// looks have found nothing, since a process that is just becoming another
// program has no environment for a moment.
func endMarked(ctx context.Context, dir string, main ident) error {
	ctx, cancel := context.WithTimeout(ctx, sweepTime)
	defer cancel()
	var left, clean int
	var refusal error
	err := retry(ctx, func() error {
		var err error
		left, err = endAll(func() ([]proc, error) { return marked(dir, main) })
		switch {
		case left > 0:
			refusal, clean = err, 0
			return errBusy
		case err != nil:
			return err
		}
		if clean++; clean < 2 {
			return errBusy
		}
		return nil
	})
	if err != nil && left > 0 {
		return fmt.Errorf("%d processes of it are left: %w", left, errors.Join(refusal, err))
	}
	return err
}

// bury is for a runner whose supervisor is dead before its time: what is left
// of it is ended, and its state says so. The caller holds its lock.
func (b *Backend) bury(ctx context.Context, id string, st *state) error {
	if err := b.endLeft(ctx, id, st); err != nil {
		return err
	}
	b.log.Warn("supervisor of runner was dead: ended what was left", "runner", id)
	text := "the supervisor of this runner was killed, so the runner was too: how it ended is not known"
	if st.Phase == phaseLost {
		text = "the state of this runner could not be read: how it ended is not known"
	}
	st.Phase = phaseEnded
	st.end(nil, text)
	return st.write(b.folder.runner(id))
}

// endLeft ends what is left of a runner without a supervisor. Where there are
// subreapers, nothing is left when it is told as ended.
func (b *Backend) endLeft(ctx context.Context, id string, st *state) error {
	if subreapers && st.Phase == phaseEnded {
		return nil
	}
	main := st.Main
	if st.Boot != bootID() { // then its pid means nothing
		main = ident{}
	}
	return endMarked(ctx, b.folder.runner(id), main)
}
