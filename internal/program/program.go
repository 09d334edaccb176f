// Package program finds the one-job runner program that is put into containers.
package program

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// buildGrace is how long a build that is broken off has to end.
const buildGrace = 5 * time.Second

// machines are the ELF names of the architectures that a runner can be built for.
var machines = map[string]elf.Machine{
	"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64, "386": elf.EM_386, "arm": elf.EM_ARM,
	"riscv64": elf.EM_RISCV, "ppc64le": elf.EM_PPC64, "s390x": elf.EM_S390,
}

// RunnerName is the program's file name. A program that is a runner when it is
// started under this name can serve as one itself.
const RunnerName = "slipway-runner"

// Finder finds a static runner program: the program Self, or slipway-runner
// beside it, or one that it builds into Dir from the source of this module.
type Finder struct {
	// Self is a program that is a runner under the name RunnerName. Required.
	Self string
	// Dir is where a program may be built. Required.
	Dir string
	// Say is told, in a line, what takes a while. Required.
	Say func(format string, args ...any)

	mu    sync.Mutex
	found map[string]string
}

// Find returns the path of a program for linux on arch. fs.ErrNotExist: there
// is none to be had, and the text says what to do.
func (f *Finder) Find(ctx context.Context, system, arch string) (string, error) {
	if system != "linux" {
		return "", fmt.Errorf("a runner for %s/%s: %w: runners in containers are Linux ones", system, arch, fs.ErrNotExist)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if path := f.found[arch]; path != "" {
		return path, nil
	}
	path, err := f.look(ctx, arch)
	if err == nil {
		if f.found == nil {
			f.found = map[string]string{}
		}
		f.found[arch] = path
	}
	return path, err
}

func (f *Finder) look(ctx context.Context, arch string) (string, error) {
	beside := filepath.Join(filepath.Dir(f.Self), RunnerName)
	for _, path := range []string{f.Self, beside} {
		if isStatic(path, arch) {
			return path, nil
		}
	}
	source := moduleSource()
	goTool, err := exec.LookPath("go")
	if source == "" || err != nil {
		return "", fmt.Errorf("a static runner program for linux/%s: %w: put slipway-runner beside %s, or build with CGO_ENABLED=0 (make build)",
			arch, fs.ErrNotExist, filepath.Base(f.Self))
	}
	f.Say("building a static slipway-runner for linux/%s", arch)
	out := filepath.Join(f.Dir, RunnerName+"-"+arch)
	build := exec.CommandContext(ctx, goTool, "build", "-trimpath", "-o", out, "./cmd/"+RunnerName)
	build.Dir = source
	// What it leaves when it is killed goes with Dir.
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOTMPDIR="+f.Dir)
	// An interrupt of all of its processes: it takes its compilers with it.
	build.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	build.Cancel = func() error { return syscall.Kill(-build.Process.Pid, syscall.SIGINT) }
	build.WaitDelay = buildGrace
	if text, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build slipway-runner: %w: %s", err, strings.TrimSpace(string(text)))
	}
	return out, nil
}

// isStatic says whether path is a program for linux on arch that needs no loader
// and no libraries, so that it runs in any image.
func isStatic(path, arch string) bool {
	f, err := elf.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	if machine, known := machines[arch]; !known || f.Machine != machine || f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN {
		return false
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return false
		}
	}
	libraries, err := f.ImportedLibraries()
	return (err == nil || errors.Is(err, elf.ErrNoSymbols)) && len(libraries) == 0
}

// Self is the path of this program.
func Self() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	return filepath.EvalSymlinks(path)
}

// moduleSource is the folder of this module's source, where the program was
// built from it on this machine; else empty.
func moduleSource() string {
	_, file, _, ok := runtime.Caller(0)
	if !ok || !filepath.IsAbs(file) {
		return "" // built with -trimpath
	}
	root := filepath.Dir(filepath.Dir(filepath.Dir(file)))
	if _, err := os.Stat(filepath.Join(root, "cmd", RunnerName)); err != nil {
		return ""
	}
	return root
}
