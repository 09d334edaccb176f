package install

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/tokens"
)

// TestAgain is what comes after the first run: repairs, updates, other options,
// and the end.
func TestAgain(t *testing.T) {
	uninstaller := func(w *world, args ...string) int {
		left, err := os.ReadFile(filepath.Join(w.root, "usr/local/lib/slipway-agent/uninstall"))
		require.NoError(w.t, err)
		return w.shell(string(left), append([]string{"-s", "--"}, args...)...)
	}
	// The next release, and a fresh line for the same host.
	renew := func(w *world) {
		w.release("amd64")
		path := filepath.Join(w.agents, "slipway-agent-linux-amd64")
		text, err := os.ReadFile(path)
		require.NoError(w.t, err)
		w.put(path, append(text, "# newer\n"...), 0o644)
		require.NoError(w.t, os.Remove(path+".manifest"))
		w.enrolment = tokens.New(tokens.Enrolment)
	}
	for name, steps := range map[string]func(w *world){
		"same": func(w *world) {
			require.Zero(w.t, w.run(), w)
			require.Zero(w.t, w.run(), w)
		},
		"repair": func(w *world) {
			require.Zero(w.t, w.run(), w)
			require.NoError(w.t, os.Remove(filepath.Join(w.root, "usr/local/lib/slipway-agent/bin/slipway-agent")))
			w.put(filepath.Join(w.root, "etc/systemd/system/slipway-agent.service"), []byte("[Service]\n"), 0o644)
			w.put(filepath.Join(w.root, "var/lib/slipway-agent/token"), []byte("its own"), 0o600)
			require.Zero(w.t, w.run(), w)
			unit, err := os.ReadFile(filepath.Join(w.root, "etc/systemd/system/slipway-agent.service"))
			require.NoError(w.t, err)
			require.Contains(w.t, string(unit), "ExecStart=")
			own, err := os.ReadFile(filepath.Join(w.root, "var/lib/slipway-agent/token"))
			require.NoError(w.t, err)
			require.Equal(w.t, "its own", string(own), "identity is kept")
		},
		"update": func(w *world) {
			require.Zero(w.t, w.run(), w)
			renew(w)
			require.Zero(w.t, w.run(), w)
			now, err := os.ReadFile(filepath.Join(w.root, "usr/local/lib/slipway-agent/bin/slipway-agent"))
			require.NoError(w.t, err)
			require.Contains(w.t, string(now), "# newer")
			key, err := os.ReadFile(filepath.Join(w.root, "var/lib/slipway-agent/update-key.pub"))
			require.NoError(w.t, err)
			require.Equal(w.t, w.key.Text(), string(key))
		},
		"refused keeps the old one running": func(w *world) {
			require.Zero(w.t, w.run(), w)
			w.set("refuse-enrolment", "")
			require.Equal(w.t, 1, w.run(), w)
			require.True(w.t, w.has("active"), "the service that ran before runs again")
		},
		"container stays a container": func(w *world) {
			require.Zero(w.t, w.run("--container", "--host-root"), w)
			w.set("image", agentSHA(w)+" "+shaOf(systemRoots))
			require.Zero(w.t, w.run(), w)
			require.Contains(w.t, w.seenCalls, "/:/host:ro")
		},
		"image stays": func(w *world) {
			require.Zero(w.t, w.run("--image", "registry.example/agent:1"), w)
			require.Zero(w.t, w.run(), w)
			require.Contains(w.t, w.seenCalls, "docker pull registry.example/agent:1")
		},
		"service is no container": func(w *world) {
			require.Zero(w.t, w.run(), w)
			require.Equal(w.t, 1, w.run("--container"), w)
		},
		"uninstall service": func(w *world) {
			require.Zero(w.t, w.run(), w)
			require.Zero(w.t, w.run("--uninstall"), w)
			require.Empty(w.t, w.files(), "all of it is undone")
			require.Zero(w.t, w.run("--uninstall"), w)
		},
		"uninstall container": func(w *world) {
			require.Zero(w.t, w.run("--container"), w)
			w.set("images", "0123456789ab\n")
			require.Zero(w.t, uninstaller(w), w)
			require.Empty(w.t, w.files(), "all of it is undone")
		},
		"uninstall with packages": func(w *world) {
			withoutEngine(w)
			require.Zero(w.t, w.run("--yes"), w)
			require.Zero(w.t, uninstaller(w, "--yes"), w)
			require.Empty(w.t, w.files(), "all of it is undone")
		},
		"uninstall keeps what others use": func(w *world) {
			withoutEngine(w)
			require.Zero(w.t, w.run("--yes"), w)
			w.set("ps", "0123456789ab\n")
			require.Zero(w.t, uninstaller(w, "--yes"), w)
			require.NotContains(w.t, w.seenCalls, "apt-get remove")
		},
		"uninstall asks before it removes packages": func(w *world) {
			withoutEngine(w)
			require.Zero(w.t, w.run("--yes"), w)
			require.Zero(w.t, uninstaller(w), w)
			require.NotContains(w.t, w.seenCalls, "apt-get remove")
		},
		"uninstall without purge": func(w *world) {
			require.Zero(w.t, w.run(), w)
			w.set("refuse-purge", "")
			require.Equal(w.t, 1, uninstaller(w), w)
			require.FileExists(w.t, filepath.Join(w.root, "usr/local/lib/slipway-agent/bin/slipway-agent"))
			require.Zero(w.t, uninstaller(w, "--force"), w)
			require.Empty(w.t, w.files())
		},
		"uninstall refused": func(w *world) {
			require.Zero(w.t, w.run(), w)
			before := w.files()
			w.answer = "n"
			require.Equal(w.t, 1, uninstaller(w), w)
			require.Equal(w.t, before, w.files())
			require.True(w.t, w.has("active"))
		},
		"uninstall dry run": func(w *world) {
			require.Zero(w.t, w.run(), w)
			before := w.files()
			require.Zero(w.t, uninstaller(w, "--dry-run"), w)
			require.Equal(w.t, before, w.files())
			require.True(w.t, w.has("active"))
		},
		"uninstall keeps settings": func(w *world) {
			w.put(filepath.Join(w.root, "etc/slipway-agent/agent.yaml"), []byte("version: 1\n"), 0o644)
			require.Zero(w.t, w.run(), w)
			require.Zero(w.t, uninstaller(w), w)
			require.Equal(w.t, "-rw-r--r-- /etc/slipway-agent/agent.yaml\n", w.files(), "the operator's own")
		},
		"uninstall half an installation": func(w *world) {
			w.set("refuse-enrolment", "")
			require.Equal(w.t, 1, w.run(), w)
			require.Zero(w.t, uninstaller(w), w)
			require.Empty(w.t, w.files())
		},
	} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			w := played(t)
			steps(w)
			w.golden()
		})
	}
}

func agentSHA(w *world) string {
	a, err := (&shelf{dir: w.agents, hashes: map[string]hashed{}}).open("linux", "amd64")
	require.NoError(w.t, err)
	require.NoError(w.t, a.file.Close())
	return a.sha256
}

// A download that was cut off anywhere runs nothing, and is no success.
func TestCutOff(t *testing.T) {
	w := played(t)
	whole := w.script()
	body := strings.Index(whole, "\n{\n") + 2
	require.Positive(t, body)
	for cut := body; cut < len(whole)-1; cut += max(1, min(1511, (len(whole)-1-cut)/2)) {
		code := w.shell(whole[:cut], "-s", "--", "--yes")
		require.NotZero(t, code, "cut after %d bytes of %d", cut, len(whole))
		require.Empty(t, w.seenCalls, "cut after %d bytes of %d", cut, len(whole))
	}
	require.Empty(t, w.files())
	require.Zero(t, w.shell(whole, "-s", "--", "--yes"))
}

// What follows the script on standard input is nobody's: neither its commands take
// it, nor is it run.
func TestInputIsNobodys(t *testing.T) {
	w := played(t)
	require.Zero(t, w.shell(w.script()+strings.Repeat("uname -r\n", 20), "-s", "--", "--yes"), w)
	require.NotContains(t, w.seenCalls, "took input")
	require.NotContains(t, w.seenCalls, "uname -r")
}

// Every command that is used is known here: a host that lacks one is told so, or has it.
func TestShellcheck(t *testing.T) {
	w := played(t, isolated, sysbox)
	require.Zero(t, w.run(), w)
	left, err := os.ReadFile(filepath.Join(w.root, "usr/local/lib/slipway-agent/uninstall"))
	require.NoError(t, err)
	texts := map[string]string{"install": w.script(), "refusal": string(refuse(sayTrouble)), "stand-ins": readFile(t, filepath.Join("testdata", "stub.sh"))}
	w.guest.Isolated = false
	w.release()
	texts["plain"] = w.script()
	shellcheck, lookErr := exec.LookPath("shellcheck")
	for name, text := range texts {
		path := filepath.Join(t.TempDir(), name+".sh")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		out, err := exec.CommandContext(t.Context(), "bash", "-n", path).CombinedOutput()
		require.NoError(t, err, "%s: %s", name, out)
		require.Empty(t, string(out), name)
		if lookErr == nil {
			out, err = exec.CommandContext(t.Context(), shellcheck, "--norc", path).CombinedOutput()
			require.NoError(t, err, "%s: %s", name, out)
		}
		require.True(t, strings.HasPrefix(text, "#!/usr/bin/env bash\n"), name)
		require.Contains(t, text, "set -euo pipefail", name)
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-n")
	cmd.Stdin = strings.NewReader(string(left))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	if lookErr != nil {
		t.Skip("no shellcheck here: the scripts' syntax was checked, and nothing more")
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

func TestUnitIsSound(t *testing.T) {
	w := played(t)
	require.Zero(t, w.run(), w)
	text := readFile(t, filepath.Join(w.root, "etc/systemd/system/slipway-agent.service"))
	for _, line := range []string{
		"NoNewPrivileges=yes", "ProtectSystem=strict", "CapabilityBoundingSet=", "Restart=always",
		"ExecStart=" + w.root + "/usr/local/lib/slipway-agent/bin/slipway-agent run --data " + w.root + "/var/lib/slipway-agent",
		"StateDirectory=slipway-agent",
	} {
		require.Contains(t, text, line+"\n")
	}
	// The unit for installations by hand says the same, but for where things lie.
	same := func(unit string) (lines []string) {
		for line := range strings.Lines(unit) {
			if !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "ExecStart=") && line != "\n" {
				lines = append(lines, strings.ReplaceAll(line, w.root, ""))
			}
		}
		return lines
	}
	require.Equal(t, same(readFile(t, filepath.Join("..", "..", "deploy", "slipway-agent.service"))), same(text))
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("no systemd-analyze here: the unit's lines were looked at, and nothing more")
	}
	unit := filepath.Join(t.TempDir(), "slipway-agent.service")
	require.NoError(t, os.WriteFile(unit, []byte(text), 0o600))
	out, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", unit).CombinedOutput()
	require.NoError(t, err, string(out))
	require.NotContains(t, string(out), "slipway-agent.service", "a line of the unit is not understood")
}
