package install

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/internal/release"
	"github.com/slipway-ci/slipway/tokens"
)

var update = flag.Bool("update", false, "write the transcripts in testdata anew")

const (
	hubURL      = "https://hub.example/slipway"
	systemRoots = "# whom to trust\n"
)

// tools are what the script may use of a host, besides what is played.
var tools = []string{"bash", "env", "cat", "chmod", "grep", "install", "ln", "mktemp", "mv", "rm", "rmdir", "sha256sum", "tar", "tr"}

// world is a host that is played: a folder as its root, and a PATH on which the
// programs that would change it are stand-ins that record their calls.
type world struct {
	t                       *testing.T
	dir, bin, state, root   string
	agents                  string
	guest                   Invited
	enrolment               tokens.Token
	transcript              bytes.Buffer
	hub                     http.Handler
	answer                  string // what is typed on the terminal; empty: there is none
	key                     release.PublicKey
	seenCalls, terminalSaid string
	sysbox                  SysboxTable
	url                     string
	meanwhile               func() // happens between script and run
	env                     []string
}

type trait func(*world)

// played makes a host with an engine, systemd and apt, unless traits say otherwise.
func played(t *testing.T, traits ...trait) *world {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the script is for Linux")
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	w := &world{t: t, dir: dir, url: hubURL, guest: Invited{Host: "builder-01"}, enrolment: tokens.New(tokens.Enrolment)}
	for _, folder := range []struct {
		at   *string
		name string
	}{{&w.bin, "bin"}, {&w.state, "state"}, {&w.root, "root"}, {&w.agents, "state/www"}} {
		*folder.at = filepath.Join(dir, folder.name)
		require.NoError(t, os.MkdirAll(*folder.at, 0o755))
	}
	require.NoError(t, os.Mkdir(filepath.Join(dir, "tmp"), 0o755))
	stub, err := os.ReadFile(filepath.Join("testdata", "stub.sh"))
	require.NoError(t, err)
	w.put(filepath.Join(dir, "stub"), stub, 0o755)
	for _, tool := range append([]string{"sed", "sort", "stat"}, tools...) { // the first are the stand-ins' own
		path, err := exec.LookPath(tool)
		if err != nil {
			t.Skipf("no %s here", tool)
		}
		require.NoError(t, os.Symlink(path, filepath.Join(w.bin, tool)))
	}
	require.NoError(t, os.Symlink(filepath.Join(dir, "stub"), filepath.Join(dir, "slipway-agent")))
	w.play("uname", "id", "sleep", "curl", "apt-get", "apt-cache", "systemctl", "docker")
	w.put(filepath.Join(w.root, "etc/ssl/certs/ca-certificates.crt"), []byte(systemRoots), 0o644)
	require.NoError(t, os.MkdirAll(filepath.Join(w.root, "run/systemd/system"), 0o755))
	for name, value := range map[string]string{"system": "Linux", "machine": "x86_64", "uid": "0", "docker-version": "Docker version 27.5.1", "available": "docker.io", "engine": "", "ps": ""} {
		w.set(name, value)
	}
	w.release("amd64", "arm64")
	for _, trait := range traits {
		trait(w)
	}
	w.hub, err = New(Config{
		Hosts: InviterFunc(func(_ context.Context, enrolment tokens.Token) (Invited, error) {
			if !enrolment.Equal(w.enrolment) {
				return Invited{}, ErrUnknown
			}
			return w.guest, nil
		}),
		PublicURL: w.url, AgentsDir: w.agents, Sysbox: w.sysbox, root: w.root, beside: filepath.Join(dir, "nowhere"),
	})
	require.NoError(t, err)
	return w
}

// release puts signed agents where the hub has them, which is where curl gets them.
func (w *world) release(archs ...string) {
	private, public, err := release.GenerateKey()
	require.NoError(w.t, err)
	w.key = public
	require.NoError(w.t, release.WritePublicKey(filepath.Join(w.agents, keyFile), public))
	for _, arch := range archs {
		path := filepath.Join(w.agents, "slipway-agent-linux-"+arch)
		program := "#!/usr/bin/env bash\n# " + arch + "\nexec \"$STUB_AGENT\" \"$@\"\n"
		w.put(path, []byte(program), 0o644)
		m, err := release.Describe(path, "v1.4.0", "linux", arch)
		require.NoError(w.t, err)
		m, err = release.Sign(m, private)
		require.NoError(w.t, err)
		require.NoError(w.t, release.Write(path+".manifest", m))
	}
}

func (w *world) put(path string, content []byte, mode fs.FileMode) {
	w.t.Helper()
	require.NoError(w.t, os.MkdirAll(filepath.Dir(path), 0o755))
	// A child that another test forks meanwhile would hold the file open for writing,
	// and such a program can't be executed.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	require.NoError(w.t, os.WriteFile(path, content, mode))
	require.NoError(w.t, os.Chmod(path, mode))
}

// play puts stand-ins on the PATH.
func (w *world) play(names ...string) {
	w.t.Helper()
	for _, name := range names {
		require.NoError(w.t, os.Symlink(filepath.Join(w.dir, "stub"), filepath.Join(w.bin, name)))
	}
}

func (w *world) set(name, value string) { w.put(filepath.Join(w.state, name), []byte(value), 0o644) }

func (w *world) has(name string) bool {
	_, err := os.Stat(filepath.Join(w.state, name))
	return err == nil
}

func (w *world) drop(names ...string) {
	for _, name := range names {
		require.NoError(w.t, os.Remove(filepath.Join(w.state, name)))
	}
}

// script is what the hub gives for the enrolment.
func (w *world) script() string {
	w.t.Helper()
	answer := httptest.NewRecorder()
	w.hub.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, Prefix+w.enrolment.Reveal()+".sh", nil))
	require.Equal(w.t, http.StatusOK, answer.Code)
	return answer.Body.String()
}

// run pipes the hub's script into a shell, as a person does, and returns its exit code.
func (w *world) run(args ...string) int {
	w.t.Helper()
	script := w.script()
	if w.meanwhile != nil {
		w.meanwhile()
	}
	return w.shell(script, append([]string{"-s", "--"}, args...)...)
}

func (w *world) shell(script string, args ...string) int {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), filepath.Join(w.bin, "bash"), args...)
	cmd.Stdin = strings.NewReader(script)
	cmd.Env = []string{
		"PATH=" + w.bin, "BIN=" + w.bin, "STATE=" + w.state, "CALLS=" + filepath.Join(w.state, "calls"), "STUB=" + filepath.Join(w.dir, "stub"),
		"STUB_AGENT=" + filepath.Join(w.dir, "slipway-agent"), "TMPDIR=" + filepath.Join(w.dir, "tmp"), "HOME=" + w.dir, "LC_ALL=C",
	}
	cmd.Env = append(cmd.Env, w.env...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	hangUp := w.terminal(cmd)
	err := cmd.Run()
	w.terminalSaid = hangUp()
	if _, ok := err.(*exec.ExitError); !ok {
		require.NoError(w.t, err)
	}
	w.record(args, said.String(), cmd.ProcessState.ExitCode())
	return cmd.ProcessState.ExitCode()
}

// waited is what a long wait for the engine looks like.
var waited = regexp.MustCompile(`(docker version [^\n]*\n)(sleep 1\n)(?:docker version [^\n]*\nsleep 1\n){28}`)

var temporary = regexp.MustCompile(`DIR/tmp/tmp\.[A-Za-z0-9]+`)

// plain makes a text the same in every run.
func (w *world) plain(text string) string {
	text = strings.ReplaceAll(text, w.root, "ROOT")
	text = strings.ReplaceAll(text, w.dir, "DIR")
	text = strings.ReplaceAll(text, strings.TrimSpace(w.key.Text()), "KEY")
	return temporary.ReplaceAllString(text, "TMP")
}

func (w *world) record(args []string, said string, code int) {
	calls, _ := os.ReadFile(filepath.Join(w.state, "calls"))
	_ = os.Remove(filepath.Join(w.state, "calls"))
	w.seenCalls = string(calls)
	// What stays of a run is what a careless person would find of the secret.
	require.NotContains(w.t, w.seenCalls, w.enrolment.Reveal(), "the enrolment is in an argument")
	require.NotContains(w.t, said, w.enrolment.Reveal(), "the enrolment is printed")
	if w.has("enrolment") {
		handed, err := os.ReadFile(filepath.Join(w.state, "enrolment"))
		require.NoError(w.t, err)
		require.Equal(w.t, w.enrolment.Reveal()+"\n", string(handed), "what the agent was handed")
		w.drop("enrolment")
	}
	require.NoError(w.t, filepath.WalkDir(w.root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			text, err := os.ReadFile(path)
			require.NoError(w.t, err)
			require.NotContains(w.t, string(text), w.enrolment.Reveal(), "%s holds the enrolment", path)
		}
		return err
	}))
	left, err := os.ReadDir(filepath.Join(w.dir, "tmp"))
	require.NoError(w.t, err)
	require.Empty(w.t, left, "temporary files are left behind")
	fmt.Fprintf(&w.transcript, "$ bash %s\n", w.plain(strings.Join(args, " ")))
	section := func(title, text string) {
		if text != "" {
			text = strings.TrimSuffix(text, "\n") + "\n"
			fmt.Fprintf(&w.transcript, "%s:\n", title)
			for line := range strings.Lines(w.plain(text)) {
				w.transcript.WriteString("  " + line)
			}
		}
	}
	section("terminal", w.terminalSaid)
	section("said", said)
	section("calls", waited.ReplaceAllString(w.seenCalls, "$1$2(and so on)\n"))
	section("files", w.files())
	fmt.Fprintf(&w.transcript, "exit %d\n\n", code)
}

// files lists what lies below the root, but for what was there from the start.
func (w *world) files() string {
	var out strings.Builder
	require.NoError(w.t, filepath.WalkDir(w.root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == w.root {
			return err
		}
		name := strings.TrimPrefix(path, w.root)
		if strings.HasPrefix(name, "/run") || strings.HasPrefix(name, "/etc/ssl") || strings.HasPrefix(name, "/etc/docker") {
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		target, _ := os.Readlink(path)
		if target != "" {
			target = " -> " + target
		}
		if !entry.IsDir() || info.Mode().Perm() != 0o755 {
			fmt.Fprintf(&out, "%s %s%s\n", info.Mode(), name, target)
		}
		return nil
	}))
	return out.String()
}

// golden compares the transcript of all runs so far.
func (w *world) golden() {
	w.t.Helper()
	path := filepath.Join("testdata", strings.ReplaceAll(strings.TrimPrefix(w.t.Name(), "Test"), "/", "-")+".txt")
	if *update {
		require.NoError(w.t, os.WriteFile(path, w.transcript.Bytes(), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(w.t, err)
	require.Equal(w.t, string(want), w.transcript.String(), "another transcript than %s; -update writes it anew, read the difference", path)
}
