package process

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
)

func identOf(t *testing.T, file string) ident {
	t.Helper()
	p, err := lookup(readPid(file))
	require.NoError(t, err)
	return p.ident
}

func TestDaemonsEndWithTheRunner(t *testing.T) {
	b := open(t, Config{})
	for _, how := range []string{"marked", "bare"} {
		file := filepath.Join(t.TempDir(), "pid")
		id := launch(t, b, daemon(t, file, how, "end"))
		r := ended(t, b, id)
		require.Equal(t, backend.Exited, r.State)
		pid := readPid(file)
		require.NotZero(t, pid)
		_, err := lookup(pid)
		require.Error(t, err, "a %s daemon lives, and its runner is told as ended", how)
	}
}

func TestRemoveEndsDaemons(t *testing.T) {
	b := open(t, Config{})
	for _, how := range []string{"marked", "bare"} {
		file := filepath.Join(t.TempDir(), "pid")
		id := launch(t, b, daemon(t, file, how, "stay"))
		printed(t, b, id, "daemon runs")
		sleeper := identOf(t, file)
		require.True(t, sleeper.alive())
		require.NoError(t, b.Remove(within(t), id))
		require.False(t, sleeper.alive(), "a %s daemon outlives its runner", how)
		require.Empty(t, alive(t, b, id))
		_, err := os.Stat(b.folder.runner(id))
		require.ErrorIs(t, err, os.ErrNotExist)
	}
}

func TestRemoveEndsWhatForksAllTheTime(t *testing.T) {
	b := open(t, Config{})
	id := launch(t, b, shell(t, `trap '' TERM; echo forks; while :; do (trap '' TERM; sleep 600 & sleep 600) & sleep 0.005; done`))
	printed(t, b, id, "forks")
	eventually(t, func() bool { return len(alive(t, b, id)) > 20 }, "forks")
	require.NoError(t, b.Remove(within(t), id))
	require.Empty(t, alive(t, b, id))
}

func TestSupervisorKilledIsToldAndItsRunnerEnded(t *testing.T) {
	b := open(t, Config{})
	tests := []struct {
		how    string
		remove bool
	}{{"marked", false}, {"marked", true}, {"home", false}}
	for _, tt := range tests {
		file := filepath.Join(t.TempDir(), "pid")
		id := launch(t, b, daemon(t, file, tt.how, "stay"))
		printed(t, b, id, "daemon runs")
		sleeper, st := identOf(t, file), stateOf(t, b, id)
		require.NoError(t, signalHolder(st.Supervisor, b.folder.lock(id), syscall.SIGKILL))
		eventually(t, func() bool {
			busy, err := held(b.folder.lock(id))
			require.NoError(t, err)
			return !busy && !st.Main.alive()
		}, "the runner dies with its supervisor")
		require.True(t, sleeper.alive(), "what it has left behind lives on")
		if tt.remove {
			require.NoError(t, b.Remove(within(t), id))
		} else {
			r, listed := look(t, b, id)
			require.True(t, listed)
			require.Equal(t, backend.Failed, r.State)
			require.Contains(t, r.Error, "supervisor")
			require.Nil(t, r.ExitCode)
			require.False(t, r.Finished.IsZero())
			again, _ := look(t, b, id)
			require.Equal(t, r.Finished.UnixNano(), again.Finished.UnixNano(), "told once and for all")
		}
		require.False(t, sleeper.alive())
	}
}

func TestRunnerIsAskedBeforeItIsKilled(t *testing.T) {
	b := open(t, Config{StopGrace: patience})
	file := filepath.Join(t.TempDir(), "asked")
	id := launch(t, b, shell(t, `trap 'echo asked >`+file+`; exit 0' TERM; echo ready; while :; do sleep 0.01; done`))
	printed(t, b, id, "ready")
	require.NoError(t, b.Remove(within(t), id))
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "asked\n", string(data))
}

func TestStoppingIsToldUntilTheRunnerHasEnded(t *testing.T) {
	b := open(t, Config{StopGrace: patience})
	gate := filepath.Join(t.TempDir(), "gate")
	id := launch(t, b, shell(t, `trap '' TERM; echo ready; until test -e `+gate+`; do sleep 0.01; done`))
	printed(t, b, id, "ready")
	ctx, cancel := context.WithCancel(t.Context())
	removed := make(chan error, 1)
	go func() { removed <- b.Remove(ctx, id) }()
	r := until(t, b, id, backend.Stopping)
	require.True(t, r.State.HoldsSlot())
	cancel()
	require.ErrorIs(t, <-removed, context.Canceled)
	require.NotEmpty(t, alive(t, b, id))
	require.Equal(t, backend.Stopping, until(t, b, id, backend.Stopping).State)
	require.NoError(t, os.WriteFile(gate, nil, 0o600))
	require.Equal(t, 0, *ended(t, b, id).ExitCode)
}

func TestRunnerThatIgnoresItsEndIsKilledThoughNobodyWaits(t *testing.T) {
	b := open(t, Config{})
	id := launch(t, b, shell(t, `trap '' TERM; echo ready; while :; do sleep 0.01; done`))
	printed(t, b, id, "ready")
	require.NoError(t, signalHolder(stateOf(t, b, id).Supervisor, b.folder.lock(id), syscall.SIGTERM)) // as a removal begins
	require.Equal(t, 137, *ended(t, b, id).ExitCode)
}

func TestRemoveWakesAStoppedSupervisor(t *testing.T) {
	b := open(t, Config{})
	id := launch(t, b, shell(t, "exec sleep 600"))
	sup := stateOf(t, b, id).Supervisor
	require.NoError(t, signalHolder(sup, b.folder.lock(id), syscall.SIGSTOP))
	begun := time.Now()
	require.NoError(t, b.Remove(within(t), id))
	require.Less(t, time.Since(begun), hangTime, "it was asked, not killed for hanging")
	require.False(t, sup.alive())
	require.Empty(t, alive(t, b, id))
}

func TestRemoveEmptiesFoldersThatMayNotBeWrittenTo(t *testing.T) {
	b := open(t, Config{})
	id := launch(t, b, shell(t, `mkdir -p mod/cache; echo x >mod/cache/file; chmod 0500 mod/cache; chmod 0 mod; exec sleep 600`))
	eventually(t, func() bool {
		info, err := os.Stat(filepath.Join(homeDir(b.folder.runner(id)), "mod"))
		return err == nil && info.Mode().Perm() == 0
	}, "folder is closed")
	require.NoError(t, b.Remove(within(t), id))
	_, err := os.Stat(b.folder.trash(id))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestSweepLeavesTheSameIDOfAnotherOwnerAlone(t *testing.T) {
	dir := t.TempDir()
	b, other := open(t, Config{Dir: dir}), open(t, Config{Dir: dir, Owner: "other"})
	spec := shell(t, "exec sleep 600")
	launch(t, b, spec)
	launch(t, other, spec)
	runsOnce(t, other, spec.ID)
	require.NoError(t, signalHolder(stateOf(t, b, spec.ID).Supervisor, b.folder.lock(spec.ID), syscall.SIGKILL))
	ended(t, b, spec.ID)
	require.NoError(t, b.Remove(within(t), spec.ID))
	runsOnce(t, other, spec.ID)
	require.Equal(t, backend.Running, until(t, other, spec.ID, backend.Running).State)
}

func TestRemoveKillsASupervisorThatHangs(t *testing.T) {
	b := open(t, Config{})
	b.hang = time.Millisecond
	// It holds the lock, as does its child, and neither listens.
	id := plant(t, b, state{Boot: bootID()})
	lock, err := tryLock(b.folder.lock(id), false)
	require.NoError(t, err)
	cmd := exec.Command("sh", "-c", "trap '' TERM; (sleep 600); sleep 600")
	cmd.ExtraFiles = []*os.File{lock.file}
	require.NoError(t, cmd.Start())
	lock.handOver()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	p, err := lookup(cmd.Process.Pid)
	require.NoError(t, err)
	st := stateOf(t, b, id)
	st.Supervisor = p.ident
	require.NoError(t, st.write(b.folder.runner(id)))
	table := func() []proc {
		all, err := processes()
		require.NoError(t, err)
		return below(all, p.Pid)
	}
	eventually(t, func() bool { return len(table()) > 0 }, "it has a child")
	child := table()[0].ident
	require.NoError(t, b.Remove(within(t), id))
	require.Error(t, <-ended)
	require.False(t, child.alive())
}
