package program

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fake writes the head of a program: enough for whoever looks at it.
func fake(t *testing.T, path string, machine elf.Machine, segments ...elf.ProgType) {
	t.Helper()
	var out bytes.Buffer
	head := elf.Header64{
		Ident: [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(machine), Version: uint32(elf.EV_CURRENT),
		Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: uint16(len(segments)), Shentsize: 64,
	}
	require.NoError(t, binary.Write(&out, binary.LittleEndian, head))
	for _, s := range segments {
		require.NoError(t, binary.Write(&out, binary.LittleEndian, elf.Prog64{Type: uint32(s)}))
	}
	require.NoError(t, os.WriteFile(path, out.Bytes(), 0o600))
}

func TestWhichProgramIsStatic(t *testing.T) {
	dir := t.TempDir()
	static := filepath.Join(dir, "static")
	fake(t, static, elf.EM_AARCH64, elf.PT_LOAD)
	require.True(t, isStatic(static, "arm64"))
	require.False(t, isStatic(static, "amd64"), "another architecture")
	require.False(t, isStatic(static, "vax"))
	require.False(t, isStatic(filepath.Join(dir, "missing"), "arm64"))

	dynamic := filepath.Join(dir, "dynamic")
	fake(t, dynamic, elf.EM_X86_64, elf.PT_LOAD, elf.PT_INTERP)
	require.False(t, isStatic(dynamic, "amd64"), "it asks for a loader")

	script := filepath.Join(dir, "script")
	require.NoError(t, os.WriteFile(script, []byte("#!/bin/sh\n"), 0o600))
	require.False(t, isStatic(script, runtime.GOARCH))
}

func TestWhereTheRunnerProgramIsFound(t *testing.T) {
	dir := t.TempDir()
	p := &Finder{Dir: dir, Self: filepath.Join(dir, "slipway"), Say: t.Logf}
	fake(t, p.Self, elf.EM_AARCH64)
	path, err := p.Find(t.Context(), "linux", "arm64")
	require.NoError(t, err)
	require.Equal(t, p.Self, path, "the program itself is one")

	beside := filepath.Join(dir, RunnerName)
	fake(t, beside, elf.EM_RISCV)
	path, err = p.Find(t.Context(), "linux", "riscv64")
	require.NoError(t, err)
	require.Equal(t, beside, path)

	_, err = p.Find(t.Context(), "windows", "amd64")
	require.ErrorIs(t, err, fs.ErrNotExist)
	t.Setenv("PATH", t.TempDir()) // no go
	_, err = p.Find(t.Context(), "linux", "s390x")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "put slipway-runner beside slipway")
}

// A build that is broken off takes its compilers with it, and its files.
func TestABuildThatIsBrokenOffLeavesNothing(t *testing.T) {
	bin, dir := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", t.TempDir())
	compiler := filepath.Join(bin, "pid")
	script := "#!/bin/sh\nwork=$(mktemp -d \"${GOTMPDIR:-$TMPDIR}/go-buildXXXXXX\")\ntrap 'rm -r \"$work\"; exit 1' INT\n" +
		"sh -c 'echo $$ >" + compiler + ".new; mv " + compiler + ".new " + compiler + "; exec sleep 600'\n"
	require.NoError(t, os.WriteFile(filepath.Join(bin, "go"), []byte(script), 0o700))
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	built := make(chan error, 1)
	go func() {
		_, err := (&Finder{Dir: dir, Self: filepath.Join(bin, "slipway"), Say: t.Logf}).Find(ctx, "linux", "s390x")
		built <- err
	}()
	var pid int
	require.Eventually(t, func() bool {
		text, err := os.ReadFile(compiler)
		pid, _ = strconv.Atoi(strings.TrimSpace(string(text)))
		return err == nil
	}, 20*time.Second, 5*time.Millisecond)
	work, err := filepath.Glob(filepath.Join(dir, "go-build*"))
	require.NoError(t, err)
	require.Len(t, work, 1, "it works in the folder that is deleted in the end")
	cancel()
	require.Error(t, <-built)
	require.NoDirExists(t, work[0], "it was asked to end, and not killed")
	require.Eventually(t, func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }, 20*time.Second, 5*time.Millisecond, "a compiler runs on")
}
