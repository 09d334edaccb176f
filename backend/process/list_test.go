package process

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
)

// wakes returns what the watch wakes on; the watch ends with the test.
func wakes(t *testing.T, watch func(context.Context, func()) error) <-chan struct{} {
	t.Helper()
	woken := make(chan struct{}, 1)
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		done <- watch(ctx, func() {
			select {
			case woken <- struct{}{}:
			default:
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
	})
	waitFor(t, woken, "connected")
	return woken
}

func TestWatch(t *testing.T) {
	b := open(t, Config{StopGrace: patience})
	watches := map[string]func(context.Context, func()) error{
		"kernel":  b.Watch,
		"polling": func(ctx context.Context, wake func()) error { return b.poll(ctx, time.Millisecond, wake) },
	}
	for name, watch := range watches {
		t.Run(name, func(t *testing.T) {
			woken := wakes(t, watch)
			// No wake is lost: whatever changes, a look after the last wake shows it.
			sees := func(id string, wanted backend.State) {
				t.Helper()
				for {
					if r, _ := look(t, b, id); r.State == wanted {
						return
					}
					waitFor(t, woken, string(wanted))
				}
			}
			gate := filepath.Join(t.TempDir(), "gate")
			ends := launch(t, b, shell(t, `until test -e `+gate+`; do sleep 0.01; done`))
			sees(ends, backend.Running)
			require.NoError(t, os.WriteFile(gate, nil, 0o600))
			sees(ends, backend.Exited)

			killed := launch(t, b, shell(t, "exec sleep 600"))
			sees(killed, backend.Running)
			require.NoError(t, signalHolder(stateOf(t, b, killed).Supervisor, b.folder.lock(killed), syscall.SIGKILL))
			sees(killed, backend.Failed)

			asked := filepath.Join(t.TempDir(), "asked")
			stays := launch(t, b, shell(t, `trap '' TERM; echo ready; until test -e `+asked+`; do sleep 0.01; done`))
			printed(t, b, stays, "ready")
			sees(stays, backend.Running)
			removed := make(chan error, 1)
			ctx := within(t)
			go func() { removed <- b.Remove(ctx, stays) }()
			sees(stays, backend.Stopping)
			require.NoError(t, os.WriteFile(asked, nil, 0o600))
			require.NoError(t, <-removed)
		})
	}
}

func TestWatchOfAFolderThatIsGone(t *testing.T) {
	b := open(t, Config{})
	woken := make(chan struct{}, 100)
	done := make(chan error, 1)
	go func() { done <- b.Watch(t.Context(), func() { woken <- struct{}{} }) }()
	waitFor(t, woken, "connected")
	require.NoError(t, os.RemoveAll(b.folder.path))
	select {
	case err := <-done:
		require.Error(t, err)
	case <-within(t).Done():
		t.Fatal("watch goes on")
	}
	_, err := b.List(within(t))
	require.Error(t, err, "what can't be seen is not empty")
	require.Error(t, b.Remove(within(t), newID(t)), "nor gone")
	require.ErrorIs(t, b.Launch(within(t), shell(t, "true")), backend.ErrUnavailable)
}

func TestListDoesNotWakeItself(t *testing.T) {
	b := open(t, Config{})
	until(t, b, launch(t, b, shell(t, "exec sleep 600")), backend.Running)
	woken := make(chan struct{}, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Watch(ctx, func() { woken <- struct{}{} }) }()
	waitFor(t, woken, "connected")
	for range 5 {
		_, err := b.List(within(t))
		require.NoError(t, err)
	}
	// What is known to wake comes next, so nothing was before it.
	now := time.Now()
	require.NoError(t, os.Chtimes(filepath.Join(b.folder.path, locksName), now, now))
	waitFor(t, woken, "touched")
	require.Empty(t, woken)
	cancel()
	<-done
}

func waitFor(t *testing.T, woken <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-woken:
	case <-within(t).Done():
		require.FailNow(t, "no wake", what)
	}
}

func TestPruneForgetsOldIDsAndFinishesWhatWasLeft(t *testing.T) {
	b := open(t, Config{})
	old, recent, live := shell(t, "exit 0"), shell(t, "exit 0"), shell(t, "exec sleep 600")
	for _, spec := range []backend.Spec{old, recent, live} {
		launch(t, b, spec)
	}
	require.NoError(t, b.Remove(within(t), old.ID))
	require.NoError(t, b.Remove(within(t), recent.ID))
	before := time.Now().Add(-spentFor - time.Minute)
	for _, id := range []string{old.ID, live.ID} {
		require.NoError(t, os.Chtimes(b.folder.lock(id), before, before))
	}
	fresh, trash, busy := newID(t), newID(t), newID(t)
	for _, dir := range []string{b.folder.fresh(fresh), b.folder.trash(trash), b.folder.fresh(busy)} {
		require.NoError(t, os.Mkdir(dir, 0o700))
	}
	lock, err := tryLock(b.folder.lock(busy), true)
	require.NoError(t, err)

	b.pruned = time.Time{}
	_, err = b.List(within(t))
	require.NoError(t, err)
	require.NoFileExists(t, b.folder.lock(old.ID))
	require.NoDirExists(t, b.folder.fresh(fresh))
	require.NoDirExists(t, b.folder.trash(trash))
	require.DirExists(t, b.folder.fresh(busy), "somebody is making it")
	lock.release()
	require.ErrorIs(t, b.Launch(within(t), recent), backend.ErrExists, "its id is spent")
	require.ErrorIs(t, b.Launch(within(t), live), backend.ErrExists)
	require.Equal(t, backend.Running, until(t, b, live.ID, backend.Running).State)
}

func TestRemovalCutOffHalfWayIsFinished(t *testing.T) {
	b := open(t, Config{})
	spec := shell(t, "exit 0")
	ended(t, b, launch(t, b, spec))
	require.NoError(t, b.discard(spec.ID)) // and here the process was killed
	_, listed := look(t, b, spec.ID)
	require.False(t, listed)
	require.ErrorIs(t, b.Launch(within(t), spec), backend.ErrExists)
	require.NoError(t, b.Remove(within(t), spec.ID))
	require.NoDirExists(t, b.folder.trash(spec.ID))
}

func TestStateFileIsPrivateAndFolderMustBeOurs(t *testing.T) {
	b := open(t, Config{})
	id := launch(t, b, shell(t, "exit 0"))
	ended(t, b, id)
	for _, path := range []string{b.folder.path, b.folder.runner(id), statePath(b.folder.runner(id)), b.folder.lock(id)} {
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Zero(t, info.Mode().Perm()&0o077, path)
	}
	require.NoError(t, os.Chmod(b.folder.path, 0o777))
	_, err := New(b.config)
	require.ErrorContains(t, err, "not ours alone")
	require.NoError(t, os.Chmod(b.folder.path, 0o700))
}

// Root writes where others may not, so this is tried as somebody else.
func TestRemoveTreeAsAnOrdinaryUser(t *testing.T) {
	dir, err := os.MkdirTemp("", "slipway-process-test-*")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	tree := filepath.Join(dir, "tree")
	deep := filepath.Join(tree, "a", "b")
	require.NoError(t, os.MkdirAll(deep, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(deep, "file"), nil, 0o400))
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command("/proc/self/exe", tree)
	if runtime.GOOS != "linux" {
		cmd.Path = self
	}
	cmd.Env = append(os.Environ(), roleName+"=remover")
	if os.Geteuid() == 0 {
		const nobody = 65534
		for _, path := range []string{dir, tree, filepath.Dir(deep), deep, filepath.Join(deep, "file")} {
			require.NoError(t, os.Chown(path, nobody, nobody))
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	require.NoError(t, os.Chmod(deep, 0o500))
	require.NoError(t, os.Chmod(filepath.Dir(deep), 0))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NoDirExists(t, tree)
}
