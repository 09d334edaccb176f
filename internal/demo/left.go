package demo

import (
	"fmt"
	"path/filepath"
	"strings"
)

// leftBehind is the line for who ends the demo at once, without its clean-up: what
// stays of a demo with this folder, and the command that clears it away.
func leftBehind(dir, what, command string) string {
	if command != "" {
		command += "; "
	}
	return fmt.Sprintf("left behind: %sthe folder %s; clear it away with: %srm -rf %s", what, dir, command, quote(dir))
}

// leftOnDocker is that of a demo whose runners are the owner's containers.
func leftOnDocker(dir, owner string) string {
	return leftBehind(dir, "the containers labelled slipway.owner="+owner+", ",
		"docker ps -aq --filter label=slipway.owner="+owner+" | xargs -r docker rm -fv")
}

// leftAsProcesses is that of a demo whose runners are processes: each has a
// supervisor with its id for an argument, which ends it when it is asked to.
func leftAsProcesses(dir string) string {
	found, err := filepath.Glob(filepath.Join(runnersDir(dir), "*", "????????-????-*"))
	if err != nil || len(found) == 0 {
		return leftBehind(dir, "", "")
	}
	for i, path := range found {
		found[i] = filepath.Base(path)
	}
	return leftBehind(dir, "runners, which are processes, ", "pkill -f "+quote("slipway-process-supervisor ("+strings.Join(found, "|")+")"))
}

func runnersDir(dir string) string { return filepath.Join(dir, "runners") }

// quote is text as one word of a shell.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
