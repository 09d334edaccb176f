// Package version tells which build of Slipway this is.
package version

import (
	"cmp"
	"runtime"
	"runtime/debug"
	"strings"
)

// Version is set by the linker (-X). Empty: it is read from the build information.
var Version string

// String is the version: what the linker set, else the module's version or the
// commit it was built from, else dev.
func String() string {
	if Version != "" {
		return Version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "dev"
	}
	return fromBuild(info)
}

func fromBuild(info *debug.BuildInfo) string {
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	revision := settings["vcs.revision"]
	revision = revision[:min(12, len(revision))]
	if revision != "" && settings["vcs.modified"] == "true" {
		revision += "-dirty"
	}
	return cmp.Or(revision, "dev")
}

// Line is one line for people: the program, its version, and what it was built
// with and for.
func Line(program string) string {
	return strings.Join([]string{program, String(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}, " ")
}
