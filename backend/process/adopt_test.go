package process

import (
	"bufio"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
)

// once is a script that leaves a line for each time it was started.
func once(file string) string {
	return `echo started >>` + file + `.$(basename "$(dirname "$HOME")"); `
}

func starts(t *testing.T, file, id string) int {
	t.Helper()
	data, err := os.ReadFile(file + "." + id)
	if !errors.Is(err, fs.ErrNotExist) {
		require.NoError(t, err)
	}
	return strings.Count(string(data), "started\n")
}

func TestRunnerOutlivesTheProcessThatLaunchedIt(t *testing.T) {
	dir := t.TempDir()
	runs, ends := newID(t), newID(t)
	gate := filepath.Join(t.TempDir(), "gate")
	script := `case $HOME in *` + ends + `*) until test -e ` + gate + `; do sleep 0.01; done; echo bye; exit 9;; esac; exec sleep 600`
	cmd, stderr := launcher(t, dir, script, runs, ends)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	launchAll(t, cmd)
	// All of its group, as a terminal that is closed does.
	require.NoError(t, syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL))
	_ = cmd.Wait()
	require.Empty(t, stderr.String())

	require.NoError(t, os.WriteFile(gate, nil, 0o600)) // this one ends while nobody looks
	b := open(t, Config{Dir: dir})
	r := ended(t, b, ends)
	require.Equal(t, backend.Failed, r.State)
	require.Equal(t, 9, *r.ExitCode)
	require.Equal(t, "bye\n", printedBy(t, b, ends))
	r = until(t, b, runs, backend.Running)
	require.Equal(t, map[string]string{"template": "small"}, r.Labels)
	runsOnce(t, b, runs)
	require.ErrorIs(t, b.Launch(within(t), backend.Spec{ID: runs, Command: []string{"true"}}), backend.ErrExists)
	require.NoError(t, b.Remove(within(t), runs))
	require.Empty(t, alive(t, b, runs))
}

// launchAll starts a launcher and waits until it has launched.
func launchAll(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if lines.Text() == "launched all" {
			return
		}
	}
	require.FailNow(t, "launcher ended", cmd.Stderr)
}

// At whatever instant the launching process is killed: each runner is started
// at most once, is found by the next process, and can be launched or removed.
func TestLaunchingProcessKilledAtAnyInstant(t *testing.T) {
	count := filepath.Join(t.TempDir(), "count")
	script := once(count) + "exec sleep 600"
	dir := t.TempDir()
	b := open(t, Config{Dir: dir})
	for round := range 8 {
		ids := []string{newID(t), newID(t), newID(t), newID(t)}
		cmd, _ := launcher(t, dir, script, ids...)
		require.NoError(t, cmd.Start())
		eventually(t, func() bool { // it is under way
			_, err := os.Stat(b.folder.lock(ids[0]))
			return err == nil
		}, "launches")
		<-time.After(time.Duration(round) * 6 * time.Millisecond)
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait()
		for i, id := range ids {
			if i%2 == 0 {
				err := b.Launch(within(t), backend.Spec{ID: id, Command: []string{"sh", "-c", script}})
				if err != nil {
					require.ErrorIs(t, err, backend.ErrExists)
				}
				until(t, b, id, backend.Running)
				eventually(t, func() bool { return starts(t, count, id) > 0 }, "runner runs its script")
				runsOnce(t, b, id)
			}
			require.NoError(t, b.Remove(within(t), id))
			require.LessOrEqual(t, starts(t, count, id), 1, "started twice")
			require.Empty(t, alive(t, b, id))
			_, listed := look(t, b, id)
			require.False(t, listed)
		}
	}
}

// At whatever instant a supervisor is killed while it starts a runner: the
// runner is started at most once in all, and the death is told.
func TestSupervisorKilledAtAnyInstant(t *testing.T) {
	count := filepath.Join(t.TempDir(), "count")
	b := open(t, Config{})
	for round := range 10 {
		spec := shell(t, once(count)+"exec sleep 600")
		launched := make(chan error, 1)
		go func() { launched <- b.Launch(within(t), spec) }()
		eventually(t, func() bool { return supervisorOf(b, spec.ID) != 0 }, "supervisor starts")
		<-time.After(time.Duration(round) * 3 * time.Millisecond / 2)
		supervisor := supervisorOf(b, spec.ID)
		require.NotZero(t, supervisor)
		require.NoError(t, syscall.Kill(supervisor, syscall.SIGKILL))
		first := <-launched
		if again := b.Launch(within(t), spec); again == nil {
			require.Error(t, first)
			require.False(t, backend.IsDefinite(first), "%v, and the next one found it half made", first)
			until(t, b, spec.ID, backend.Running)
		} else {
			require.ErrorIs(t, again, backend.ErrExists)
			r := ended(t, b, spec.ID)
			require.Equal(t, backend.Failed, r.State)
			require.Nil(t, r.ExitCode)
			require.Contains(t, r.Error, "supervisor")
			require.Empty(t, alive(t, b, spec.ID), "it is told as ended")
		}
		require.NoError(t, b.Remove(within(t), spec.ID))
		require.LessOrEqual(t, starts(t, count, spec.ID), 1, "started twice")
		require.Empty(t, alive(t, b, spec.ID))
	}
}

// supervisorOf is the pid of the supervisor that this process has started.
func supervisorOf(b *Backend, id string) int {
	children.mu.Lock()
	defer children.mu.Unlock()
	for pid, lock := range children.locks {
		if lock == b.folder.lock(id) {
			return pid
		}
	}
	return 0
}

func TestHalfMadeRunnerIsFinishedOrRemoved(t *testing.T) {
	b := open(t, Config{})
	for _, finish := range []bool{true, false} {
		spec := shell(t, "exec sleep 600")
		lock, err := b.claim(within(t), spec.ID)
		require.NoError(t, err)
		require.NoError(t, b.create(within(t), spec))
		lock.release() // the launching process has ended here
		r, listed := look(t, b, spec.ID)
		require.True(t, listed)
		require.Equal(t, backend.Starting, r.State)
		if finish {
			launch(t, b, spec)
			again := until(t, b, spec.ID, backend.Running)
			require.True(t, r.Created.Equal(again.Created), "the same runner")
			continue
		}
		require.NoError(t, b.Remove(within(t), spec.ID))
		require.NoError(t, b.Launch(within(t), spec), "it was never started, so its id is not spent")
	}
}

func TestSupervisorSentHalfAnOrderStartsNothing(t *testing.T) {
	b := open(t, Config{})
	spec := shell(t, "exec sleep 600")
	lock, err := b.claim(within(t), spec.ID)
	require.NoError(t, err)
	require.NoError(t, b.create(within(t), spec))
	s, err := start(lock, spec.ID)
	require.NoError(t, err)
	_, err = s.orders.Write([]byte("half"))
	require.NoError(t, err)
	require.NoError(t, s.orders.Close())
	eventually(t, func() bool {
		busy, err := held(b.folder.lock(spec.ID))
		require.NoError(t, err)
		return !busy
	}, "supervisor ends")
	require.NoError(t, s.answers.Close())
	require.Equal(t, phaseCreated, stateOf(t, b, spec.ID).Phase)
	launch(t, b, spec)
}

func TestLaunchCutOffBeforeTheOrderIsUndone(t *testing.T) {
	b := open(t, Config{})
	spec := shell(t, "exec sleep 600")
	o, err := b.orderFor(spec)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	lock, err := b.claim(ctx, spec.ID)
	require.NoError(t, err)
	require.NoError(t, b.create(ctx, spec))
	s, err := start(lock, spec.ID)
	require.NoError(t, err)
	cancel()
	require.ErrorIs(t, s.order(ctx, o), context.Canceled)
	require.False(t, s.ordered)
	require.True(t, b.undo(ctx, spec.ID))
	require.Equal(t, 0, entries(t, b))
}

// A launch whose folder went away in the middle has left something that shows when the
// folder is back.
func TestLaunchThatCannotBeUndoneIsNotDefinite(t *testing.T) {
	b := open(t, Config{Dir: filepath.Join(t.TempDir(), "runners")})
	away := b.config.Dir + ".away"
	file := filepath.Join(t.TempDir(), "no-program")
	require.NoError(t, os.WriteFile(file, []byte("\x7fELF no program"), 0o700))
	spec := backend.Spec{ID: newID(t), Command: []string{file}}
	o, err := b.orderFor(spec)
	require.NoError(t, err)
	launch := func() error {
		lock, err := b.claim(within(t), spec.ID)
		require.NoError(t, err)
		require.NoError(t, b.create(within(t), spec))
		require.NoError(t, os.Rename(b.config.Dir, away))
		return b.begin(within(t), lock, o)
	}
	err = launch()
	require.Error(t, err)
	require.False(t, backend.IsDefinite(err), "%v", err)
	require.NoError(t, os.Rename(away, b.config.Dir))
	_, listed := look(t, b, spec.ID)
	require.True(t, listed)
	err = b.Launch(within(t), spec)
	require.ErrorIs(t, err, backend.ErrInvalid, "now it is known")
	require.Equal(t, 0, entries(t, b))
}

func TestForeignPidIsNotKilled(t *testing.T) {
	b := open(t, Config{StopGrace: time.Millisecond})
	b.hang = time.Millisecond
	inn := innocent(t)
	reused := ident{Pid: inn.Pid, Start: inn.Start - 1}
	tests := map[string]state{
		"pid in use again":    {Boot: bootID(), Main: reused, Supervisor: reused},
		"before a restart":    {Boot: "another", Main: inn, Supervisor: inn},
		"no pid at all":       {Boot: bootID()},
		"pid of the launcher": {Boot: bootID(), Main: ident{Pid: os.Getpid(), Start: 1}, Supervisor: ident{Pid: os.Getpid(), Start: 1}},
	}
	for name, st := range tests {
		for _, remove := range []bool{false, true} {
			id := plant(t, b, st)
			if !remove {
				r, listed := look(t, b, id)
				require.True(t, listed, name)
				require.Equal(t, backend.Failed, r.State, name)
			}
			// While somebody holds the lock, Remove asks whom it takes for the supervisor.
			lock, err := tryLock(b.folder.lock(id), false)
			require.NoError(t, err)
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			require.ErrorIs(t, b.Remove(ctx, id), context.DeadlineExceeded, name)
			cancel()
			lock.release()
			require.NoError(t, b.Remove(within(t), id), name)
			require.True(t, inn.alive(), name)
		}
	}
}

// plant makes a runner that has no supervisor.
func plant(t *testing.T, b *Backend, st state) string {
	t.Helper()
	id := newID(t)
	st.Version, st.Owner, st.ID, st.Created = stateVersion, b.folder.owner, id, time.Now()
	if st.Phase == "" {
		st.Phase = phaseRunning
	}
	require.NoError(t, os.WriteFile(b.folder.lock(id), []byte("started\n"), 0o600))
	require.NoError(t, os.Mkdir(b.folder.runner(id), 0o700))
	require.NoError(t, st.write(b.folder.runner(id)))
	return id
}
