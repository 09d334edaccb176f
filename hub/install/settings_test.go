package install

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	authority = "# an authority of its own\n-----BEGIN CERTIFICATE-----"
	// proxy holds what no argument and no output may show.
	proxy = "http://agent:hunter2@proxy.example:3128"
	// operators is what an operator may write; nothing in it is ever run.
	operators = `# Settings of this host
; and another comment, SLIPWAY_CA_FILE=/nowhere

  SLIPWAY_CA_FILE = "CA"
HTTPS_PROXY='http://lan.example:8080/?a=b='   
https_proxy_of_nobody=x
no_proxy=first.example
no_proxy=last.example
DOCKER_CONFIG=/etc/slipway-agent/$(touch ran)` + "`touch ran`" + `
export NOT=one
not a line of it`
)

// caFile is where the authority lies, on a host that is played.
func (w *world) caFile() string { return filepath.Join(w.root, "etc/slipway-agent/ca.pem") }

func (w *world) envFile() string { return filepath.Join(w.root, "etc/slipway-agent/agent.env") }

func ownAuthority(w *world) {
	w.put(w.caFile(), []byte(authority), 0o644)
}

// told sets the variables in the script's environment.
func told(w *world) {
	ownAuthority(w)
	w.env = []string{"SLIPWAY_CA_FILE=" + w.caFile(), "https_proxy=" + proxy}
}

// written sets them in agent.env.
func written(w *world) {
	ownAuthority(w)
	w.put(w.envFile(), []byte(strings.ReplaceAll(operators, "CA\"", w.caFile()+`"`)), 0o600)
}

func caIs(path string) trait {
	return func(w *world) {
		w.put(filepath.Join(w.root, "home/me/ca.pem"), []byte(authority), 0o644)
		w.put(filepath.Join(w.root, "etc/slipway-agent/empty.pem"), nil, 0o644)
		w.env = []string{"SLIPWAY_CA_FILE=" + strings.Replace(path, "ROOT", w.root, 1)}
	}
}

// TestSettings enrols at a hub that is reached through a proxy, and whose certificate
// is of an authority of its own.
func TestSettings(t *testing.T) {
	for _, c := range []struct {
		name   string
		args   []string
		code   int
		kept   bool // agent.env is written
		traits []trait
	}{
		{"told", nil, 0, true, []trait{told}},
		{"told, container", []string{"--container"}, 0, true, []trait{told}},
		{"told, dry run, container", []string{"--dry-run", "--container"}, 0, false, []trait{told}},
		{"told, enrolment refused", nil, 1, false, []trait{told, func(w *world) { w.set("refuse-enrolment", "") }}},
		{"written, packages", []string{"--yes"}, 0, false, []trait{written, withoutEngine}}, // their sources are reached as the host does
		{"written, container", []string{"--container"}, 0, false, []trait{written}},
		{"written, told otherwise", nil, 0, false, []trait{written, told}},
		{"not written, container", []string{"--container"}, 0, false, []trait{told, func(w *world) { w.put(w.envFile(), []byte("DOCKER_CONFIG=/x\n"), 0o600) }}},
		{"authority unknown", nil, 1, false, []trait{func(w *world) { w.set("unknown-authority", "") }}},
		{"at home", nil, 1, false, []trait{caIs("ROOT/home/me/ca.pem")}},
		{"no whole path", nil, 1, false, []trait{caIs("ca.pem")}},
		{"no certificate", nil, 1, false, []trait{caIs("ROOT/etc/slipway-agent/empty.pem")}},
		{"no such file", nil, 1, false, []trait{caIs("ROOT/etc/slipway-agent/none.pem")}},
	} {
		t.Run(strings.NewReplacer(", ", "-", " ", "-").Replace(c.name), func(t *testing.T) {
			t.Parallel()
			w := played(t, c.traits...)
			before, _ := os.ReadFile(w.envFile())
			require.Equal(t, c.code, w.run(c.args...), w)
			after, err := os.ReadFile(w.envFile())
			if c.kept {
				require.NoError(t, err)
				require.Contains(t, string(after), "SLIPWAY_CA_FILE='"+w.caFile()+"'\n")
				info, err := os.Stat(w.envFile())
				require.NoError(t, err)
				require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "a proxy's URL may hold a password")
			} else {
				require.Equal(t, string(before), string(after), "the operator's own, and what did not work is not kept")
			}
			for line := range strings.Lines(w.transcript.String()) {
				if !strings.HasPrefix(line, "    ") { // those are of files and environments
					require.NotContains(t, line, "hunter2")
				}
			}
			w.golden()
		})
	}
}

// What was kept is what later runs have, and goes with the agent unless somebody
// altered it.
func TestSettingsAgain(t *testing.T) {
	w := played(t, told)
	require.Zero(t, w.run(), w)
	w.env = nil
	require.Zero(t, w.run(), w)
	require.Contains(t, w.seenCalls, "with SLIPWAY_CA_FILE="+w.caFile()+"\n")
	require.Contains(t, w.seenCalls, "with https_proxy="+proxy+"\n")
	kept := readFile(t, w.envFile())
	w.put(w.envFile(), []byte(kept+"NO_PROXY=*\n"), 0o600)
	require.Zero(t, w.run("--uninstall"), w)
	require.FileExists(t, w.envFile(), "the operator has altered it")

	require.NoError(t, os.Remove(w.envFile()))
	told(w)
	require.Zero(t, w.run("--container"), w)
	require.Equal(t, kept, readFile(t, w.envFile()))
	require.Zero(t, w.run("--uninstall"), w)
	require.NoFileExists(t, w.envFile())
	require.FileExists(t, w.caFile(), "the operator's own")
}

// An image holds the roots of the host: others make another one.
func TestImageHasTheRoots(t *testing.T) {
	w := played(t)
	w.set("image", agentSHA(w)+" "+shaOf(systemRoots))
	require.Zero(t, w.run("--container"), w)
	require.NotContains(t, w.seenCalls, "docker import")
	w.put(filepath.Join(w.root, "etc/ssl/certs/ca-certificates.crt"), []byte(systemRoots+authority), 0o644)
	require.Zero(t, w.run("--container"), w)
	require.Contains(t, w.seenCalls, "slipway.roots.sha256="+shaOf(systemRoots+authority)+" ")
}
