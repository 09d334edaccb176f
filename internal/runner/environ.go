package runner

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/tokens"
)

// ownPrefixes are of the runner's settings, which are no business of the job.
var ownPrefixes = []string{"SHIPFOX_", "SLIPWAY_"}

// jobEnv is the environment of the job: a sane base, then what the image and the
// template gave the runner, then what the job brings.
func jobEnv(base []string, j job, dir workDir) []string {
	vars := map[string]string{
		"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME": dir.work,
		"LANG": "C.UTF-8",
		"CI":   "true",
	}
	for _, entry := range base {
		name, value, ok := strings.Cut(entry, "=")
		if ok && name != "" && !own(name) && tokens.Redact(value) == value {
			vars[name] = value
		}
	}
	vars["TMPDIR"], vars["PWD"] = dir.tmp, dir.work
	for name, value := range j.Env {
		vars[name] = value
	}
	vars["SLIPWAY_JOB_ID"] = j.ID
	env := make([]string, 0, len(vars))
	for name, value := range vars {
		env = append(env, name+"="+value)
	}
	slices.Sort(env)
	return env
}

func own(name string) bool {
	return slices.ContainsFunc(ownPrefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// lookup finds a program as execvp does, in the PATH of the job and not in ours.
// It is empty when there is none.
func lookup(name string, env []string, dir string) string {
	if strings.Contains(name, "/") {
		return name
	}
	for _, entry := range env {
		path, ok := strings.CutPrefix(entry, "PATH=")
		if !ok {
			continue
		}
		for _, folder := range filepath.SplitList(path) {
			if !filepath.IsAbs(folder) {
				folder = filepath.Join(dir, folder)
			}
			if file := filepath.Join(folder, name); executable(file) {
				return file
			}
		}
	}
	return ""
}
