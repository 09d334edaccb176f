package policy

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/mount"
	"github.com/stretchr/testify/require"
)

const example = `# What builder-01 allows.
version: 1
images:
  - docker.io/library/*
  - ghcr.io/acme/**
  - "**@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
runtimes: [default, sysbox-runc]
networks: [ci-services]
volumes: false
binds: [/srv/ci-cache, "/srv/toolchains:ro"]
privileged: false
capabilities: [SYS_PTRACE, CAP_NET_ADMIN]
new_privileges: false
gpus: [GPU-5d1f, 1]
inject_runner: true
updates: false
max_runners: 8
max_cpu: 2.5
max_memory: 16GiB
max_shm: 1g
max_pids: 8192
`

func TestParse(t *testing.T) {
	p, err := Parse("agent.yaml", []byte(example))
	require.NoError(t, err)
	require.Equal(t, Rules{
		Images:   []string{"docker.io/library/*", "ghcr.io/acme/**", "**@" + digestA},
		Runtimes: []string{"default", "sysbox-runc"}, Networks: []string{"ci-services"}, ForbidVolumes: true,
		Binds:        []Bind{{Path: "/srv/ci-cache"}, {Path: "/srv/toolchains", ReadOnly: true}},
		Capabilities: []string{"SYS_PTRACE", "CAP_NET_ADMIN"}, ForbidNewPrivileges: true, GPUs: []string{"GPU-5d1f", "1"},
		ForbidUpdates: true, MaxRunners: 8, MaxCPU: 2.5, MaxMemory: 16 << 30, MaxShm: 1 << 30, MaxPids: 8192,
	}, p.rules)
	for _, empty := range []string{"", "# nothing\n", "---\n", "{}", "null", "version: 1"} {
		p, err := Parse("agent.yaml", []byte(empty))
		require.NoError(t, err, "%q", empty)
		require.Equal(t, Rules{}, p.rules)
	}
	p, err = Parse("agent.yaml", []byte("images: []\ngpus: none\nruntimes: []"))
	require.NoError(t, err)
	require.Equal(t, Rules{Images: []string{}, GPUs: []string{}, Runtimes: []string{}}, p.rules, "none is not any")
}

// The example in the document is one that loads.
func TestDocumentedExample(t *testing.T) {
	text, err := os.ReadFile("../../docs/agent-policy.md")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(text), "```yaml\n")
	require.True(t, found)
	block, _, _ := strings.Cut(rest, "```")
	_, err = Parse("agent.yaml", []byte(block))
	require.NoError(t, err)
	for key := range keys {
		require.Contains(t, string(text), "`"+key+"`", "a key that is not documented")
	}
}

// Every slip has its place, and all of them are told at once.
func TestParseErrors(t *testing.T) {
	for text, want := range map[string]string{
		"privilged: true":                     "agent.yaml:1:1: unknown key \"privilged\"; did you mean privileged?",
		"max-runner: 3":                       "1:1: unknown key \"max-runner\"; did you mean max_runners?",
		"zzzzzzzz: 3":                         "1:1: unknown key \"zzzzzzzz\"",
		"a: 1\n\n  b: 2":                      "agent.yaml:3:1: not YAML",
		"images: alpine":                      "1:9: images must be a list; [] is an empty one",
		"images:":                             "images must be a list",
		"images:\n- docker.io/library/x\n- y": "3:3: images \"y\": registry and repository are needed; did you mean docker.io/library/y?",
		"images: [[x]]":                       "1:10: images must be a list of texts",
		"images: ['']":                        "1:10: images must not be empty",
		"images: &a [x.io/y]\nruntimes: *a":   "2:11: runtimes must be a list",
		"privileged: yes":                     "1:13: privileged must be true or false",
		"privileged: True":                    "1:13: privileged must be true or false",
		"privileged: 'true'":                  "1:13: privileged must be true or false",
		"privileged: true\nupdates: true\nprivileged: false": "3:1: the key privileged is written twice; first at line 1",
		"networks: [host]":            "1:12: networks \"host\" can't be allowed",
		"networks: ['container:x']":   "can't be allowed",
		"networks: ['a b']":           "no name of a network",
		"runtimes: [/usr/bin/runc]":   "no name of a runtime",
		"capabilities: ['SYS ADMIN']": "no name of a capability",
		"gpus: some":                  "gpus must be all, none or a list of ids",
		"gpus: [all]":                 "write it alone",
		"gpus: ['0,1']":               "no id of a GPU",
		"binds: [/]":                  "1:9: binds \"/\" is all of the host",
		"binds: [/a, ../b]":           "1:13: binds \"../b\" is no clean absolute path",
		"max_runners: 0":              "for no bound leave the key out",
		"max_runners: -1":             "max_runners must be 1",
		"max_runners: 010":            "plain digits",
		"max_runners: 0x10":           "plain digits",
		"max_runners: 1.5":            "must be a whole number",
		"max_pids: '100'":             "must be a whole number",
		"max_cpu: .inf":               "max_cpu must be above 0",
		"max_cpu: 1e3":                "max_cpu must be above 0",
		"max_cpu: 0.0000000001":       "max_cpu must be above 0",
		"max_memory: 4 parsecs":       "must be a size",
		"max_memory: 99999999PiB":     "must be a size",
		"max_memory: 0.2b":            "must be a size",
		"max_memory: -1":              "must be a size",
		"version: 2":                  "this agent reads 1",
		"version: one":                "version must be the number 1",
		"[a]":                         "the file must be keys with values",
		"? [a]\n: b":                  "a key must be a word",
		"<<: {privileged: true}":      "unknown key \"<<\"",
		"version: 1\n---\nversion: 1": "a second document",
		"max_cpu: !!str 3":            "must be a number",
		"privileged: \"a\\nb\"":       "privileged must be true or false",
	} {
		_, err := Parse("agent.yaml", []byte(text))
		require.ErrorIs(t, err, ErrFile, "%q", text)
		require.ErrorContains(t, err, want, "%q", text)
	}
	_, err := Parse("agent.yaml", []byte("privilged: true\nnetworks: [host]\nmax_pids: x"))
	for _, want := range []string{"1:1", "2:12", "3:11"} {
		require.ErrorContains(t, err, want)
	}
}

func write(t *testing.T, text string, mode fs.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	require.NoError(t, os.Chmod(path, mode))
	return path
}

func TestLoad(t *testing.T) {
	path := write(t, example, 0o644)
	p, err := Load(path)
	require.NoError(t, err)
	require.Equal(t, 8, p.MaxRunners())
	p.rules.Binds = []Bind{{Path: filepath.Dir(filepath.Dir(path))}}
	r := request()
	r.Host.Runtime, r.Host.DeviceRequests, r.Host.Mounts = "", nil, []mount.Mount{{Type: mount.TypeBind, Source: filepath.Dir(path), Target: "/x"}}
	require.ErrorContains(t, p.Review(r), "would give away", "the file itself is protected")

	_, err = Load(filepath.Join(t.TempDir(), "agent.yaml"))
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorIs(t, err, ErrFile)
	_, err = Load(write(t, "privilged: true", 0o600))
	require.ErrorIs(t, err, ErrFile)
	require.ErrorContains(t, err, "agent.yaml:1:1")
	_, err = Load(write(t, strings.Repeat("# long\n", maxFile/7+1), 0o600))
	require.ErrorContains(t, err, "longer than")
}

// A file that others can write is no policy.
func TestLoadDistrusts(t *testing.T) {
	for _, mode := range []fs.FileMode{0o620, 0o602, 0o666, 0o664} {
		_, err := Load(write(t, example, mode))
		require.ErrorIs(t, err, ErrFile)
		require.ErrorContains(t, err, "others may write it", "%o", mode)
		require.False(t, errors.Is(err, fs.ErrNotExist), "it must not count as none")
	}
	path := write(t, example, 0o600)
	require.NoError(t, os.Chmod(filepath.Dir(path), 0o777))
	_, err := Load(path)
	require.ErrorContains(t, err, "folder")
	require.NoError(t, os.Chmod(filepath.Dir(path), 0o777|fs.ModeSticky))
	_, err = Load(path)
	require.NoError(t, err)

	link := filepath.Join(t.TempDir(), "agent.yaml")
	require.NoError(t, os.Symlink(write(t, example, 0o666), link))
	_, err = Load(link)
	require.ErrorContains(t, err, "others may write it", "what the link leads to counts")
	open := write(t, example, 0o600)
	require.NoError(t, os.Chmod(filepath.Dir(open), 0o777))
	require.NoError(t, os.Remove(link))
	require.NoError(t, os.Symlink(open, link))
	_, err = Load(link)
	require.ErrorContains(t, err, "everybody may write its folder", "the folder that the link leads to")
	_, err = Load(t.TempDir())
	require.ErrorContains(t, err, "no regular file")
	pipe := filepath.Join(t.TempDir(), "agent.yaml")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	_, err = Load(pipe)
	require.ErrorContains(t, err, "no regular file", "and nobody waits for a writer")
}

// info is a file of any owner.
type info struct {
	fs.FileInfo
	uid uint32
}

func (i info) Name() string       { return "agent.yaml" }
func (i info) Mode() fs.FileMode  { return 0o644 }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) Sys() any           { return &syscall.Stat_t{Uid: i.uid} }

func TestWhoOwnsTheFile(t *testing.T) {
	require.NoError(t, trusted(info{uid: 0}, info{uid: 0}, 1000), "root's")
	require.NoError(t, trusted(info{uid: 1000}, info{uid: 1000}, 1000), "the agent's own")
	require.ErrorContains(t, trusted(info{uid: 1001}, info{uid: 0}, 1000), "belongs to user 1001")
	require.ErrorContains(t, trusted(info{uid: 0}, info{uid: 1001}, 1000), "belongs to user 1001", "who has the folder has the file")
	require.ErrorContains(t, trusted(info{uid: 1000}, info{uid: 0}, 0), "belongs to user 1000", "an agent that is root")
}
