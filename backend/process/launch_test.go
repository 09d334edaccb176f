package process

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/backend"
)

func TestRunnerEndsAsItsProcessDoes(t *testing.T) {
	b := open(t, Config{})
	tests := []struct {
		script string
		state  backend.State
		code   int
	}{
		{"exit 0", backend.Exited, 0},
		{"exit 7", backend.Failed, 7},
		{"kill -9 $$", backend.Failed, 128 + int(syscall.SIGKILL)},
		{"kill -15 $$", backend.Failed, 128 + int(syscall.SIGTERM)},
	}
	for _, tt := range tests {
		spec := shell(t, tt.script)
		spec.Labels = map[string]string{"template": "small", "x": "<&>\u2028"}
		r := ended(t, b, launch(t, b, spec))
		require.Equal(t, tt.state, r.State, tt.script)
		require.NotNil(t, r.ExitCode, tt.script)
		require.Equal(t, tt.code, *r.ExitCode, tt.script)
		require.Equal(t, spec.Labels, r.Labels)
		require.False(t, r.Created.IsZero() || r.Started.Before(r.Created) || r.Finished.Before(r.Started), "%+v", r)
	}
}

func TestEnvironmentIsExactlyWhatIsNamed(t *testing.T) {
	t.Setenv("PROCESS_TEST_CANARY", "must-not-arrive")
	t.Setenv("PROCESS_TEST_NAMED", "arrives")
	b := open(t, Config{InheritEnv: []string{"PATH", "PROCESS_TEST_NAMED", "PROCESS_TEST_UNSET"}})
	envProgram, err := find("env", "", os.Getenv("PATH"))
	require.NoError(t, err)
	spec := backend.Spec{ID: newID(t), Command: []string{envProgram}, Env: map[string]string{
		"TOKEN": "two\nlines", "PATH": "/spec:/bin", "BYTES": "\xff\xfe",
	}}
	ended(t, b, launch(t, b, spec))
	dir := b.folder.runner(spec.ID)
	want := []string{
		"BYTES=\xff\xfe", "HOME=" + dir + "/home", "PATH=/spec:/bin", "PROCESS_TEST_NAMED=arrives",
		"SLIPWAY_PROCESS_RUNNER=" + filepath.Base(b.folder.path) + "/" + spec.ID, "TMPDIR=" + dir + "/tmp", "TOKEN=two\nlines", "",
	}
	require.Equal(t, strings.Join(want, "\n"), printedBy(t, b, spec.ID))
}

func TestRunnerHasFoldersOfItsOwn(t *testing.T) {
	b := open(t, Config{})
	id := launch(t, b, shell(t, `pwd -P; test -w "$TMPDIR" && test -w "$HOME" && echo writable; ls -A "$HOME"; ls -A "$TMPDIR"`))
	ended(t, b, id)
	dir, err := filepath.EvalSymlinks(b.folder.runner(id))
	require.NoError(t, err)
	require.Equal(t, dir+"/home\nwritable\n", printedBy(t, b, id), "its working directory, which is empty as is its TMPDIR")
}

func TestRunnerInheritsNoFiles(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	defer w.Close()
	leaky, err := syscall.Dup(int(w.Fd())) // without FD_CLOEXEC
	require.NoError(t, err)
	b := open(t, Config{})
	id := launch(t, b, shell(t, "ls -l /dev/fd/ 2>/dev/null || ls -l /proc/self/fd; sleep 600"))
	require.NoError(t, syscall.Close(leaky))
	require.NoError(t, w.Close())
	// Neither the runner nor its supervisor holds the other end: the pipe ends now.
	done := make(chan error, 1)
	go func() {
		_, err := r.Read(make([]byte, 1))
		done <- err
	}()
	select {
	case err := <-done:
		require.Error(t, err)
	case <-within(t).Done():
		t.Fatal("a file of the launching process is open in a runner or its supervisor")
	}
	require.NotContains(t, printedBy(t, b, id), "lock")
}

func TestSecretsAreNowhereOnDiskNorInArguments(t *testing.T) {
	const canary = "canary-8a1b-in-no-file"
	b := open(t, Config{})
	spec := shell(t, "echo ready; exec sleep 600")
	spec.Env = map[string]string{"REGISTRATION": canary}
	id := launch(t, b, spec)
	printed(t, b, id, "ready")
	// The runner is there to be found, so the search could find.
	eventually(t, func() bool { return len(withEnv(t, "REGISTRATION="+canary)) == 1 }, "it has its secret")

	require.Empty(t, filesWith(t, b.config.Dir, canary))
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	for _, line := range lines {
		data, _ := os.ReadFile(line)
		require.NotContains(t, string(data), canary, line)
	}
	require.NoError(t, b.Remove(within(t), id))
	require.Empty(t, filesWith(t, b.config.Dir, canary))
}

func filesWith(t *testing.T, dir, text string) (found []string) {
	t.Helper()
	files := 0
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		files++
		data, err := os.ReadFile(path)
		if strings.Contains(string(data), text) {
			found = append(found, path)
		}
		return err
	}))
	require.NotZero(t, files, "nothing to search")
	return found
}

func TestLaunchTwiceAndTogether(t *testing.T) {
	b := open(t, Config{})
	spec := shell(t, `echo started; exec sleep 600`)
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() { errs[i] = b.Launch(within(t), spec) })
	}
	wg.Wait()
	fresh := 0
	for _, err := range errs {
		if err == nil {
			fresh++
		} else {
			require.ErrorIs(t, err, backend.ErrExists)
		}
	}
	require.Equal(t, 1, fresh)
	printed(t, b, spec.ID, "started")
	require.Equal(t, "started\n", printedBy(t, b, spec.ID))
	runsOnce(t, b, spec.ID)
}

func TestLaunchAfterRemoveStartsNothing(t *testing.T) {
	b := open(t, Config{})
	spec := shell(t, "exec sleep 600")
	launch(t, b, spec)
	require.NoError(t, b.Remove(within(t), spec.ID))
	require.ErrorIs(t, b.Launch(within(t), spec), backend.ErrExists)
	_, listed := look(t, b, spec.ID)
	require.False(t, listed)
	require.Empty(t, alive(t, b, spec.ID))
}

func TestLaunchNamesTheFieldItCannotHonour(t *testing.T) {
	b := open(t, Config{})
	tests := map[string]func(*backend.Spec){
		"ID":            func(s *backend.Spec) { s.ID = "../" + s.ID },
		"OS":            func(s *backend.Spec) { s.OS = "plan9" },
		"Arch":          func(s *backend.Spec) { s.Arch = "mips" },
		"User":          func(s *backend.Spec) { s.User = "nobody" },
		"GPUs":          func(s *backend.Spec) { s.GPUs = -1 },
		"ShmSize":       func(s *backend.Spec) { s.ShmSize = 1 },
		"PidsLimit":     func(s *backend.Spec) { s.PidsLimit = 5 },
		"Runtime":       func(s *backend.Spec) { s.Runtime = "runc" },
		"Network":       func(s *backend.Spec) { s.Network = "host" },
		"Mounts":        func(s *backend.Spec) { s.Mounts = []backend.Mount{{Volume: "v", Target: "/v"}} },
		"Tmpfs":         func(s *backend.Spec) { s.Tmpfs = map[string]string{"/t": ""} },
		"CapAdd":        func(s *backend.Spec) { s.CapAdd = []string{"NET_ADMIN"} },
		"CapDrop":       func(s *backend.Spec) { s.CapDrop = []string{"ALL"} },
		"Privileged":    func(s *backend.Spec) { s.Privileged = true },
		"ReadOnly":      func(s *backend.Spec) { s.ReadOnly = true },
		"InjectRunner":  func(s *backend.Spec) { s.InjectRunner, s.Command = true, nil },
		"Command":       func(s *backend.Spec) { s.Command = nil },
		"Command: prog": func(s *backend.Spec) { s.Command = []string{"no-such-program-here"} },
		"Labels":        func(s *backend.Spec) { s.Labels = map[string]string{"Not/A/Key": ""} },
		"Env":           func(s *backend.Spec) { s.Env = map[string]string{"A=B": "secret-value"} },
	}
	for _, name := range slices.Sorted(maps.Keys(tests)) {
		spec := shell(t, "exit 0")
		tests[name](&spec)
		err := b.Launch(within(t), spec)
		require.ErrorIs(t, err, backend.ErrInvalid, name)
		require.ErrorContains(t, err, strings.TrimSuffix(name, " prog"))
		require.NotContains(t, err.Error(), "secret-value")
	}
	require.Equal(t, 0, entries(t, b))

	spec := shell(t, "exit 0")
	spec.Image, spec.PullPolicy, spec.CPU, spec.Memory = "nothing:1", backend.PullAlways, 99, 1<<40
	spec.AllowNewPrivileges = true
	require.Equal(t, backend.Exited, ended(t, b, launch(t, b, spec)).State, "these are ignored, or always so")
}

// entries counts what the backend keeps.
func entries(t *testing.T, b *Backend) int {
	t.Helper()
	n := 0
	for _, dir := range []string{"", locksName, newName, trashName} {
		names, err := ids(filepath.Join(b.folder.path, dir))
		require.NoError(t, err)
		n += len(names)
	}
	return n
}

func TestCommandThatCannotStartLeavesNothing(t *testing.T) {
	b := open(t, Config{})
	file := filepath.Join(t.TempDir(), "no-program")
	require.NoError(t, os.WriteFile(file, []byte("\x7fELF no program"), 0o700))
	spec := backend.Spec{ID: newID(t), Command: []string{file}}
	err := b.Launch(within(t), spec)
	require.ErrorIs(t, err, backend.ErrInvalid)
	require.ErrorContains(t, err, "exec format error")
	require.Equal(t, 0, entries(t, b))
	spec.Command = []string{"true"}
	require.NoError(t, b.Launch(within(t), spec), "nothing was started, so the id is not spent")
}

func TestInjectRunnerStartsTheRunnerProgram(t *testing.T) {
	b := open(t, Config{Runner: []string{"sh", "-c", "echo I am the runner $A $B"}, RunnerEnv: map[string]string{"A": "its-own", "B": "default"}})
	for _, inject := range []bool{true, false} {
		id := launch(t, b, backend.Spec{ID: newID(t), InjectRunner: inject, Env: map[string]string{"B": "spec"}})
		require.Equal(t, backend.Exited, ended(t, b, id).State)
		require.Equal(t, "I am the runner its-own spec\n", printedBy(t, b, id))
	}
	id := launch(t, b, shell(t, "echo I am $A"))
	ended(t, b, id)
	require.Equal(t, "I am\n", printedBy(t, b, id), "another program gets what its spec says")
	err := b.Launch(within(t), backend.Spec{ID: newID(t), InjectRunner: true, Entrypoint: []string{"true"}})
	require.ErrorIs(t, err, backend.ErrInvalid)
}

func TestLaunchWithContextEndedLeavesNothing(t *testing.T) {
	b := open(t, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := b.Launch(ctx, shell(t, "exec sleep 600"))
	require.ErrorIs(t, err, context.Canceled)
	require.False(t, backend.IsDefinite(err))
	require.Equal(t, 0, entries(t, b))
}

func TestRoomIsForAllOwnersTogether(t *testing.T) {
	dir := t.TempDir()
	b := open(t, Config{Dir: dir, MaxRunners: 2})
	other := open(t, Config{Dir: dir, MaxRunners: 2, Owner: "other"})
	first := launch(t, b, shell(t, "exec sleep 600"))
	var wg sync.WaitGroup
	errs := make([]error, 6)
	for i := range errs {
		spec := shell(t, "exec sleep 600")
		wg.Go(func() { errs[i] = other.Launch(within(t), spec) })
	}
	wg.Wait()
	launched := 0
	for _, err := range errs {
		if err == nil {
			launched++
		} else {
			require.ErrorIs(t, err, backend.ErrExhausted)
		}
	}
	require.Equal(t, 1, launched)
	room, err := backend.Capacity(within(t), b, make([]backend.Spec, 2))
	require.NoError(t, err)
	require.Equal(t, []int{0, 0}, room)
	require.NoError(t, b.Remove(within(t), first))
	room, err = backend.Capacity(within(t), b, make([]backend.Spec, 1))
	require.NoError(t, err)
	require.Equal(t, []int{1}, room)

	_, err = backend.Capacity(within(t), open(t, Config{}), nil)
	require.ErrorIs(t, err, errors.ErrUnsupported)
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	for _, c := range []Config{{}, {Owner: "o"}, {Dir: t.TempDir()}, {Owner: "o", Dir: t.TempDir(), MaxRunners: -1}, {Owner: "o", Dir: t.TempDir(), LogBytes: 1}} {
		_, err := New(c)
		require.ErrorContains(t, err, "Config.")
	}
	mainCalled.Store(false)
	defer mainCalled.Store(true)
	_, err := New(Config{Owner: "o", Dir: t.TempDir()})
	require.ErrorContains(t, err, "process.Main", "a program without it would start itself again and again")
}

func TestEnvironmentOfAnySize(t *testing.T) {
	b := open(t, Config{})
	spec := shell(t, `printf %s "$V0$V99" | wc -c`)
	spec.Env = map[string]string{}
	for i := range 100 { // far more than a pipe holds
		spec.Env[fmt.Sprintf("V%d", i)] = strings.Repeat("v", 5000)
	}
	ended(t, b, launch(t, b, spec))
	require.Equal(t, "10000", strings.TrimSpace(printedBy(t, b, spec.ID)))

	spec.ID, spec.Env["V0"] = newID(t), strings.Repeat("v", 2<<20) // more than any system takes
	err := b.Launch(within(t), spec)
	require.ErrorIs(t, err, backend.ErrInvalid)
	require.ErrorContains(t, err, "argument list too long")
	require.NotContains(t, err.Error(), "vvv")
	require.NoDirExists(t, b.folder.runner(spec.ID))
}
