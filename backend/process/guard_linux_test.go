package process

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
)

// The supervisor has had the runner's secrets. Root may read everything, so this
// is tried as somebody else.
func TestSupervisorHidesItsMemory(t *testing.T) {
	dir, err := os.MkdirTemp("", "slipway-process-test-*")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	id := newID(t)
	cmd, _ := launcher(t, filepath.Join(dir, "runners"), `
		cat /proc/self/environ >/dev/null && echo own readable
		cat /proc/$PPID/environ >/dev/null 2>&1 || echo environment hidden
		head -c 1 /proc/$PPID/mem >/dev/null 2>&1 || echo memory hidden
		echo done; exec sleep 600`, id)
	if os.Geteuid() == 0 {
		const nobody = 65534
		require.NoError(t, os.Chown(dir, nobody, nobody))
		cmd.Path = "/proc/self/exe" // nobody need not reach the file
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	launchAll(t, cmd)
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()

	b := &Backend{config: Config{Dir: filepath.Join(dir, "runners")}.withDefaults(), folder: newFolder(filepath.Join(dir, "runners"), "owner")}
	b.log = b.config.Logger
	t.Cleanup(func() { clear(t, b) })
	printed(t, b, id, "done")
	require.Equal(t, "own readable\nenvironment hidden\nmemory hidden\ndone\n", printedBy(t, b, id))
}

func TestParseStat(t *testing.T) {
	const tail = " S 7 9 9 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 100 200"
	for _, name := range []string{"sh", "a b", "x) S 1 (y", ")", ""} {
		p, err := parseStat(12, "12 ("+name+")"+tail)
		require.NoError(t, err)
		require.Equal(t, proc{ident: ident{Pid: 12, Start: 4242}, parent: 7}, p)
	}
	for _, line := range []string{"", "12 (sh", "12 (sh) S 7", "12 (sh) S x 9 9 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 1"} {
		_, err := parseStat(12, line)
		require.Error(t, err, line)
	}
}

func TestRunnerThatFillsTheDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("a small disk can't be had: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, 0)) })
	b := open(t, Config{Dir: dir})
	full := filepath.Join(t.TempDir(), "full") // when its first line is stored
	id := launch(t, b, shell(t, `echo begins; until [ -e `+full+` ]; do sleep 0.01; done; cat /dev/zero >big 2>/dev/null; echo lost; cat /dev/zero >"$TMPDIR"/big 2>/dev/null; exit 3`))
	printed(t, b, id, "begins")
	require.NoError(t, os.WriteFile(full, nil, 0o600))
	r := ended(t, b, id)
	require.NotNil(t, r.ExitCode, "%+v", r)
	require.Equal(t, 3, *r.ExitCode)
	require.Contains(t, printedBy(t, b, id), "begins\n", "its output was not needed for room")
	require.NoError(t, b.Remove(within(t), id))
	require.Equal(t, backend.Exited, ended(t, b, launch(t, b, shell(t, "exit 0"))).State)
}

func TestLaunchOnAFullDiskIsNoRoom(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("a small disk can't be had: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, 0)) })
	b := open(t, Config{Dir: dir})
	big := filepath.Join(dir, "big")
	_ = os.WriteFile(big, make([]byte, 1<<20), 0o600)
	spec := shell(t, "exit 0")
	require.ErrorIs(t, b.Launch(within(t), spec), backend.ErrExhausted)
	require.Equal(t, 0, entries(t, b))
	require.NoError(t, os.Remove(big))
	require.NoError(t, b.Launch(within(t), spec))
}
