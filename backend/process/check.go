package process

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/slipway-ci/slipway/backend"
)

// check names the first field of spec that can't be honoured here.
func check(spec backend.Spec) error {
	switch {
	case !validID(spec.ID):
		return invalid("ID", "it is not a UUIDv7 in its canonical form")
	case spec.OS != "" && spec.OS != runtime.GOOS:
		return invalid("OS", fmt.Sprintf("%q is asked for, this machine is %s", spec.OS, runtime.GOOS))
	case spec.Arch != "" && spec.Arch != runtime.GOARCH:
		return invalid("Arch", fmt.Sprintf("%q is asked for, this machine is %s", spec.Arch, runtime.GOARCH))
	}
	unable := []struct {
		field string
		set   bool
	}{
		{"User", spec.User != ""},
		{"GPUs", spec.GPUs != 0},
		{"ShmSize", spec.ShmSize != 0},
		{"PidsLimit", spec.PidsLimit != 0},
		{"Runtime", spec.Runtime != ""},
		{"Network", spec.Network != ""},
		{"Mounts", len(spec.Mounts) > 0},
		{"Tmpfs", len(spec.Tmpfs) > 0},
		{"CapAdd", len(spec.CapAdd) > 0},
		{"CapDrop", len(spec.CapDrop) > 0},
		{"Privileged", spec.Privileged},
		{"ReadOnly", spec.ReadOnly},
	}
	for _, u := range unable {
		if u.set {
			return invalid(u.field, "processes of this machine can't have it")
		}
	}
	if err := checkLabels(spec.Labels); err != nil {
		return err
	}
	return checkEnv(spec.Env)
}

func checkLabels(labels map[string]string) error {
	const allowed = "abcdefghijklmnopqrstuvwxyz0123456789._-"
	for key, value := range labels {
		if key == "" || len(key) > 64 || strings.Trim(key, allowed) != "" {
			return invalid("Labels", fmt.Sprintf("key %.80q: 1 to 64 of a-z 0-9 . _ - are allowed", key))
		}
		if !utf8.ValidString(value) {
			return invalid("Labels", fmt.Sprintf("the value of %q is not UTF-8", key))
		}
	}
	return nil
}

// checkEnv says what is wrong without telling a value.
func checkEnv(env map[string]string) error {
	for key, value := range env {
		if key == "" || strings.ContainsAny(key, "=\x00") {
			return invalid("Env", fmt.Sprintf("name %.80q: it is empty, or has = or NUL in it", key))
		}
		if strings.Contains(value, "\x00") {
			return invalid("Env", fmt.Sprintf("the value of %.80q has NUL in it", key))
		}
	}
	return nil
}

// command says what to run for spec: the program and its arguments.
func (b *Backend) command(spec backend.Spec) ([]string, error) {
	argv := slices.Concat(spec.Entrypoint, spec.Command)
	if spec.InjectRunner {
		if len(argv) > 0 {
			return nil, invalid("InjectRunner", "Entrypoint and Command must be empty with it")
		}
		if len(b.config.Runner) == 0 {
			return nil, invalid("InjectRunner", "this backend knows no runner program")
		}
		return b.config.Runner, nil
	}
	if len(argv) == 0 {
		argv = b.config.Command
	}
	if len(argv) == 0 {
		return nil, invalid("Command", "it is empty, and this backend has no default")
	}
	if slices.ContainsFunc(argv, func(s string) bool { return strings.Contains(s, "\x00") }) {
		return nil, invalid("Command", "it has NUL in it")
	}
	return argv, nil
}

// markerName is in the environment of every runner, with its owner's digest and
// its id. What it starts inherits it, so that it is known when its supervisor is
// dead.
const markerName = "SLIPWAY_PROCESS_RUNNER"

// marker is the mark of the runner that lives in dir.
func marker(dir string) string {
	return filepath.Base(filepath.Dir(dir)) + "/" + filepath.Base(dir)
}

// environment is all that a runner gets: what is inherited by name, what every
// runner has, then the spec's.
func (b *Backend) environment(spec backend.Spec) map[string]string {
	env := map[string]string{}
	for _, name := range b.config.InheritEnv {
		if value, ok := os.LookupEnv(name); ok {
			env[name] = value
		}
	}
	dir := b.folder.runner(spec.ID)
	env["HOME"], env["TMPDIR"] = homeDir(dir), tmpDir(dir)
	if spec.InjectRunner || len(spec.Entrypoint)+len(spec.Command) == 0 {
		maps.Copy(env, b.config.RunnerEnv)
	}
	maps.Copy(env, spec.Env)
	env[markerName] = marker(dir)
	return env
}

func homeDir(dir string) string { return filepath.Join(dir, "home") }
func tmpDir(dir string) string  { return filepath.Join(dir, "tmp") }

// find looks for a program as a shell in the runner's home would: name itself
// where it has a slash, else in the folders of path.
func find(name, home, path string) (string, error) {
	if strings.Contains(name, "/") {
		if !filepath.IsAbs(name) {
			name = filepath.Join(home, name)
		}
		return name, runnable(name)
	}
	for _, dir := range filepath.SplitList(path) {
		if !filepath.IsAbs(dir) {
			continue
		}
		if file := filepath.Join(dir, name); runnable(file) == nil {
			return file, nil
		}
	}
	return "", fmt.Errorf("program %q is in no folder of the runner's PATH", name)
}

func runnable(file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return fmt.Errorf("%s is a folder", file)
	}
	if err := unix.Access(file, unix.X_OK); err != nil {
		return &os.PathError{Op: "run", Path: file, Err: err}
	}
	return nil
}
