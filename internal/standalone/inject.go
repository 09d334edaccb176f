package standalone

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// runnerName is the one-job runner program of the Slipway hub. Images of the
// Shipfox service bring a runner of their own.
const runnerName = "slipway-runner"

// runnerProgram finds the program for templates with inject_runner: beside this
// program, with the architecture in its name or without.
func runnerProgram(_ context.Context, system, arch string) (string, error) {
	for _, name := range []string{runnerName + "-" + system + "-" + arch, runnerName} {
		if path, ok := beside(name); ok {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s for %s/%s: %w: put it beside slipway-provisioner", runnerName, system, arch, fs.ErrNotExist)
}

// runnerCommand is the same for the process backend; empty where there is none.
func runnerCommand() []string {
	if path, ok := beside(runnerName); ok {
		return []string{path}
	}
	return nil
}

func beside(name string) (string, bool) {
	self, err := os.Executable()
	if err != nil {
		return "", false
	}
	path := filepath.Join(filepath.Dir(self), name)
	info, err := os.Stat(path)
	return path, err == nil && info.Mode().IsRegular()
}
