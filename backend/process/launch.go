package process

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/slipway-ci/slipway/backend"
)

// Launch creates and starts the runner, see backend.Backend. Spec.Image, CPU,
// Memory and the pull policy are ignored; AllowNewPrivileges is always so;
// other fields about isolation are ErrInvalid.
func (b *Backend) Launch(ctx context.Context, spec backend.Spec) error {
	o, err := b.orderFor(spec)
	if err == nil {
		err = b.launch(ctx, spec, o)
	}
	if err != nil {
		return fmt.Errorf("launch runner %s: %w", spec.ID, err)
	}
	return nil
}

// orderFor says what the supervisor of spec is told.
func (b *Backend) orderFor(spec backend.Spec) (order, error) {
	if err := check(spec); err != nil {
		return order{}, err
	}
	argv, err := b.command(spec)
	if err != nil {
		return order{}, err
	}
	dir := b.folder.runner(spec.ID)
	env := b.environment(spec)
	program, err := find(argv[0], homeDir(dir), env["PATH"])
	if err != nil {
		return order{}, invalid("Command", err.Error())
	}
	o := order{
		ID: spec.ID, Dir: dir, Lock: b.folder.lock(spec.ID), Program: program, Argv: argv,
		Grace: b.config.StopGrace, LogBytes: b.config.LogBytes,
	}
	for name, value := range env {
		o.Env = append(o.Env, name+"="+value)
	}
	slices.Sort(o.Env)
	return o, nil
}

func (b *Backend) launch(ctx context.Context, spec backend.Spec, o order) error {
	lock, err := b.claim(ctx, spec.ID)
	if err != nil {
		return err
	}
	if err := b.create(ctx, spec); err != nil {
		_ = lock.drop()
		return err
	}
	return b.begin(ctx, lock, o)
}

// begin starts a runner that was made, or takes it back. It has the lock from here on.
func (b *Backend) begin(ctx context.Context, lock *lockFile, o order) error {
	s, err := start(lock, o.ID)
	if err != nil {
		err = unmade(err)
	} else if err = s.order(ctx, o); err == nil {
		return nil
	}
	lock.release() // nothing where the supervisor has it: that was handed over
	if uncertain := !backend.IsDefinite(err) && s != nil && s.ordered; uncertain {
		return err
	}
	if !b.undo(ctx, o.ID) && backend.IsDefinite(err) {
		return fmt.Errorf("%v: and what was made of it is not removed yet", err) // it may show: not definite
	}
	return err
}

// claim takes the lock of a runner that was never started.
func (b *Backend) claim(ctx context.Context, id string) (*lockFile, error) {
	var lock *lockFile
	err := retry(ctx, func() error {
		if st, err := b.look(id); err == nil && st.begun() {
			return backend.ErrExists
		}
		var err error
		lock, err = tryLock(b.folder.lock(id), true)
		return err
	})
	switch {
	case errors.Is(err, backend.ErrExists) || ctx.Err() != nil && err == ctx.Err():
		return nil, err
	case err != nil:
		return nil, unmade(err)
	}
	spent, err := lock.spent()
	if err == nil && spent {
		err = backend.ErrExists
	} else if err != nil {
		err = unmade(err)
	}
	if err != nil {
		lock.release()
		return nil, err
	}
	return lock, nil
}

// create makes the runner's folder, if there is room. It appears with its state
// in it. The caller holds the lock.
func (b *Backend) create(ctx context.Context, spec backend.Spec) error {
	room, err := b.lockRoom(ctx)
	if err != nil {
		return err
	}
	defer room.release()
	if err := room.check(spec.ID); err != nil {
		return err
	}
	st := &state{
		Version: stateVersion, Owner: b.folder.owner, ID: spec.ID, Labels: spec.Labels,
		Phase: phaseCreated, Created: time.Now(),
	}
	dir, fresh := b.folder.runner(spec.ID), b.folder.fresh(spec.ID)
	switch old, err := b.folder.read(spec.ID); {
	case err == nil: // made before, never started: it shows, so nothing about it is definite
		st.Created = old.Created
		return st.write(dir)
	case errors.Is(err, errForeign):
		return invalid("ID", "a file that is not ours has this name")
	case !errors.Is(err, fs.ErrNotExist):
		return unmade(err)
	}
	if _, err := os.Lstat(dir); err == nil {
		return invalid("ID", "a folder that is not ours has this name")
	}
	err = removeTree(fresh)
	if err == nil {
		err = os.Mkdir(fresh, 0o700)
	}
	if err == nil {
		err = st.write(fresh)
	}
	if err == nil {
		err = os.Rename(fresh, dir)
	}
	if err != nil {
		_ = removeTree(fresh)
	}
	return asUnmade(err)
}

func asUnmade(err error) error {
	if err != nil {
		return unmade(err)
	}
	return nil
}

// undo removes what a launch that came to nothing has made, if it can be had
// soon, and says whether it is gone. What a supervisor holds is left to it.
func (b *Backend) undo(ctx context.Context, id string) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	var lock *lockFile
	err := retry(ctx, func() (err error) {
		lock, err = tryLock(b.folder.lock(id), false)
		return err
	})
	if err != nil {
		return false
	}
	if spent, err := lock.spent(); err != nil || spent {
		lock.release()
		return false
	}
	if err := b.dismantle(ctx, id, lock); err != nil {
		b.log.Warn("undo launch", "runner", id, "err", err)
		return false
	}
	return true
}

// starting is a supervisor that was started and waits for its order.
type starting struct {
	orders  *os.File // to it
	answers *os.File // from it
	ordered bool     // it may have the whole order
}

// start starts the supervisor of the runner id, and hands it the lock.
func start(lock *lockFile, id string) (*starting, error) {
	self, err := selfPath()
	if err != nil {
		return nil, err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	orderR, orderW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer orderR.Close()
	answerR, answerW, err := os.Pipe()
	if err != nil {
		orderW.Close()
		return nil, err
	}
	defer answerW.Close()
	p, err := os.StartProcess(self, []string{supervisorName, id}, &os.ProcAttr{
		Dir: "/", Env: []string{"GOTRACEBACK=none"},
		Files: []*os.File{orderR, null, null, lockFD: lock.file, statusFD: answerW},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		orderW.Close()
		answerR.Close()
		return nil, fmt.Errorf("start supervisor: %w", err)
	}
	children.add(lock.path, p)
	lock.handOver()
	return &starting{orders: orderW, answers: answerR}, nil
}

// order tells the supervisor what to do, and waits for its answer.
func (s *starting) order(ctx context.Context, o order) error {
	defer s.orders.Close()
	defer s.answers.Close()
	defer context.AfterFunc(ctx, func() {
		past := time.Unix(1, 0)
		_ = s.orders.SetDeadline(past)
		_ = s.answers.SetDeadline(past)
	})()
	if err := ctx.Err(); err != nil {
		return err
	}
	err := gob.NewEncoder(s.orders).Encode(o)
	s.orders.Close()
	s.ordered = err == nil
	var a answer
	if err == nil {
		err = gob.NewDecoder(s.answers).Decode(&a)
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("the supervisor died: %w", err)
	case a.Invalid:
		return invalid("Command", a.Error)
	case a.Exhausted:
		return fmt.Errorf("%w: %s", backend.ErrExhausted, a.Error)
	case a.Error != "":
		return fmt.Errorf("%w: %s", backend.ErrUnavailable, a.Error)
	}
	return nil
}
