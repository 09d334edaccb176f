package cli

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub"
	"github.com/slipway-ci/slipway/internal/cli/clitest"
	"github.com/slipway-ci/slipway/internal/cli/command"
	"github.com/slipway-ci/slipway/internal/cli/remote"
)

func ok(file string) clitest.Answer { return clitest.Answer{Body: "@" + file} }

func TestDefaultURLIsTheHubs(t *testing.T) {
	require.Equal(t, "http://"+hub.DefaultListen, remote.DefaultURL)
}

func TestTranscripts(t *testing.T) {
	for _, x := range []struct {
		name, args string
		hub        map[string]clitest.Answer
	}{
		{"events", "events", map[string]clitest.Answer{"GET events?limit=50": ok("events-newest.json")}},
		{"events-after", "events --after 5 --limit 2 --kind host,runner --object host/builder-01", map[string]clitest.Answer{
			"GET events?after=5&kind=host&kind=runner&limit=2&object=host%2Fbuilder-01": ok("events.json")}},
		{"events-json", "events --after 5 -o json", map[string]clitest.Answer{"GET events?after=5&limit=50": ok("events.json")}},
		{"audit", "audit list", map[string]clitest.Answer{"GET audit?limit=50": ok("audit.json")}},
		{"audit-json", "audit list --object host --action edit-host --token 018f-t1 --outcome done --limit 2 --cursor c -o json", map[string]clitest.Answer{
			"GET audit?action=edit-host&cursor=c&limit=2&object=host&outcome=done&token=018f-t1": ok("audit.json")}},
		{"tokens-list", "tokens list", map[string]clitest.Answer{"GET tokens": ok("tokens.json")}},
		{"tokens-create", "tokens create --kind api --role viewer --name wall --expires 24h", map[string]clitest.Answer{"POST tokens": ok("new-token.json")}},
		{"tokens-create-json", "tokens create --kind api --role viewer -o json", map[string]clitest.Answer{"POST tokens": ok("new-token.json")}},
		{"tokens-revoke-last", "tokens revoke 018f-t3", map[string]clitest.Answer{"DELETE tokens/018f-t3": clitest.Problem(409, "last-admin", "it is the last admin token: make another one first")}},
		{"whoami", "whoami", map[string]clitest.Answer{"GET whoami": ok("whoami.json")}},
		{"whoami-json", "whoami -o json", map[string]clitest.Answer{"GET whoami": ok("whoami.json")}},
		{"whoami-refused", "whoami", map[string]clitest.Answer{"GET whoami": clitest.Problem(401, "token-revoked", "this token was revoked")}},
		{"jobs-submit-invalid", "jobs submit --labels a -- true", map[string]clitest.Answer{"POST jobs": clitest.Problem(422, "invalid", "labels are wrong")}},
		{"jobs-list-invalid", "jobs list --cursor x", map[string]clitest.Answer{"GET jobs?cursor=x&limit=50": clitest.Problem(400, "invalid", "cursor is not one of ours")}},
		{"jobs-full", "jobs submit --labels a -- true", map[string]clitest.Answer{"POST jobs": clitest.Problem(507, "storage-full", "the hub's disk is too full for anything new")}},
	} {
		t.Run(x.name, func(t *testing.T) {
			h := clitest.New(t)
			for line, answer := range x.hub {
				h.On(line, answer)
			}
			res := h.Transcript(x.name, Root, nil, strings.Fields(x.args)...)
			require.NotContains(t, res.Stderr, "canary", "a new token is for standard output alone")
		})
	}
}

// What came before the stream began is printed once, and so is what comes after.
func TestEventsFollow(t *testing.T) {
	stream := "id: 9\ndata: {\"id\":9,\"kind\":\"again\"}\n\nid: 12\ndata: {\"id\":12,\"at\":\"2026-01-02T03:04:07Z\",\"kind\":\"host-offline\",\"object\":\"host/b\",\"text\":\"x\"}\n\n"
	newHub := func(t *testing.T) *clitest.Hub {
		return clitest.New(t).On("GET events?limit=1", clitest.Answer{Body: `{"items":[{"id":11,"kind":"other"}]}`}).
			On("GET events?kind=host&limit=50", ok("events.json")).
			On("GET events/stream?kind=host", clitest.Answer{Body: stream}, clitest.Problem(http.StatusUnauthorized, "token-revoked", "this token was revoked"))
	}
	h := newHub(t)
	res := h.Transcript("events-follow", Root, nil, "events", "--follow", "--kind", "host")
	require.Equal(t, 1, res.Code, "the token was revoked in the end")
	require.Equal(t, 1, strings.Count(res.Stdout, "host-offline"))
	require.NotContains(t, res.Stdout, "again")

	h = newHub(t)
	res = h.Run(Root, nil, "events", "-f", "--kind", "host", "-o", "json")
	require.Equal(t, 3, strings.Count(res.Stdout, "\n"), "an object a line: %s", res.Stdout)
	var last string
	for _, r := range h.Asked() {
		if strings.Contains(r.Line, "stream") {
			last = r.LastEventID
		}
	}
	require.Equal(t, "12", last, "a stream goes on where it broke off")

	h = clitest.New(t).On("GET events/stream", clitest.Problem(http.StatusForbidden, "forbidden", "no"))
	h.Run(Root, nil, "events", "-f", "--after", "5")
	asked := h.Asked()
	require.Len(t, asked, 1)
	require.Equal(t, "5", asked[0].LastEventID)
}

func TestUsage(t *testing.T) {
	for args, want := range map[string]string{
		"events --limit 0":                               "--limit is 0: 1 to 500 is allowed",
		"events --after -1":                              "--after is -1",
		"events extra":                                   `"extra" is one argument too many`,
		"audit":                                          "a command is missing: list",
		"audit list --limit 501":                         "--limit is 501",
		"audit list --since -1h":                         "--since is -1h0m0s",
		"tokens create --kind api":                       `--role is "": admin, operator or viewer is needed`,
		"tokens create --kind api --role root":           `--role is "root"`,
		"tokens create --kind admin --role viewer":       "--role is for --kind api alone",
		"tokens create --kind provisioner --api older":   `--api is "older"`,
		"tokens create --kind admin --expires 1ms":       "--expires is 1ms",
		"whoami x":                                       `"x" is one argument too many`,
		"release":                                        "a command is missing: keygen, sign, verify",
		"release sign --version 1.0.0 slipway-agent-a-b": "--key is missing",
		"release sign --key k slipway-agent-a-b":         "--version is missing",
		"release sign --key k --version 1.0.0":           "a program, slipway-agent-<os>-<arch> is missing",
		"release sign --key k --version 1.0.0 agent":     "agent: a name such as slipway-agent-linux-amd64 is needed",
		"release verify slipway-agent-linux-amd64":       "--key is missing",
		"hsots list":                                     `did you mean "hosts"?`,
	} {
		t.Run(args, func(t *testing.T) {
			h := clitest.New(t)
			res := h.Run(Root, nil, strings.Fields(args)...)
			require.Equal(t, command.ExitUsage, res.Code, res.Stderr)
			require.Contains(t, res.Stderr, want)
			require.Equal(t, 1, strings.Count(res.Stderr, "\n"), "one line: %s", res.Stderr)
			require.Empty(t, h.Asked(), "a wrong call must not reach the hub")
		})
	}
}

func TestRelease(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	run := func(args ...string) clitest.Result {
		return clitest.Run(t, Root, nil, append([]string{"release"}, args...)...)
	}
	agent, other := at("slipway-agent-linux-amd64"), at("slipway-agent-linux-arm64")
	require.NoError(t, os.WriteFile(agent, []byte("program"), 0o755))
	require.NoError(t, os.WriteFile(other, []byte("another"), 0o755))
	keys := []string{"keygen", "--private", at("key"), "--public", at("key.pub")}

	res := run(keys...)
	require.Zero(t, res.Code, res.Stderr)
	require.Regexp(t, `^key [0-9a-f]{16}: private in \S+/key, public in \S+/key\.pub\n$`, res.Stdout)
	info, err := os.Stat(at("key"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	secret, err := os.ReadFile(at("key"))
	require.NoError(t, err)

	for _, there := range []string{"key", "key.pub"} {
		args := []string{"keygen", "--private", at("new"), "--public", at("new.pub")}
		args[2+2*strings.Count(there, ".")] = at(there)
		res = run(args...)
		require.Equal(t, 1, res.Code)
		require.Contains(t, res.Stderr, there+" is there already: a key is never replaced")
		require.NoFileExists(t, at("new"))
		require.NoFileExists(t, at("new.pub"))
	}

	res = run("sign", "--key", at("key"), "--version", "1.4.0", agent, other)
	require.Zero(t, res.Code, res.Stderr)
	require.Regexp(t, `linux-amd64\.manifest: 1\.4\.0 linux/amd64, 7B, by key [0-9a-f]{16}\n`, res.Stdout)
	require.NotContains(t, res.Stdout+res.Stderr, strings.Fields(string(secret))[1], "the private key is printed")
	res = run("verify", "--key", at("key.pub"), agent, other+".manifest")
	require.Zero(t, res.Code, res.Stderr)
	require.Equal(t, 2, strings.Count(res.Stdout, ": good, 1.4.0 linux/"))

	require.Equal(t, 2, run("sign", "--key", at("key"), "--version", "dev", agent).Code, "a version that can't be ordered")
	require.Equal(t, 1, run("sign", "--key", at("nokey"), "--version", "1.4.0", agent).Code)
	require.Equal(t, 1, run("sign", "--key", at("key.pub"), "--version", "1.4.0", agent).Code, "that is the public key")

	manifest, err := os.ReadFile(agent + ".manifest")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(other+".manifest", manifest, 0o644))
	res = run("verify", "--key", at("key.pub"), other)
	require.Equal(t, 1, res.Code)
	require.Contains(t, res.Stderr, "the manifest is of linux/amd64")
	require.NoError(t, os.WriteFile(agent, []byte("pr0gram"), 0o755))
	require.Equal(t, 1, run("verify", "--key", at("key.pub"), agent).Code, "other bytes")
	require.NoError(t, os.WriteFile(agent, []byte("program"), 0o755))
	require.NoError(t, os.WriteFile(agent+".manifest", []byte(strings.Replace(string(manifest), "1.4.0", "1.5.0", 1)), 0o644))
	require.Equal(t, 1, run("verify", "--key", at("key.pub"), agent).Code, "another version")
	require.Zero(t, run("keygen", "--private", at("k2"), "--public", at("k2.pub")).Code)
	require.NoError(t, os.WriteFile(agent+".manifest", manifest, 0o644))
	require.Zero(t, run("verify", "--key", at("key.pub"), agent).Code)
	require.Equal(t, 1, run("verify", "--key", at("k2.pub"), agent).Code, "another key")
}

func TestCompletionScripts(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		res := clitest.Run(t, Root, nil, "completion", shell)
		require.Zero(t, res.Code, res.Stderr)
		require.Contains(t, res.Stdout, "slipway")
	}
	res := clitest.Run(t, Root, nil, "__complete", "tokens", "create", "--role", "")
	require.Equal(t, "admin\noperator\nviewer\n:4\n", res.Stdout)
}

// Every command has help that fits a screen's width, and every one that lists or
// shows can answer in JSON.
func TestEveryCommandHelps(t *testing.T) {
	for _, c := range commands(Root()) {
		require.NotEmpty(t, c.Short, c.CommandPath())
		require.False(t, strings.HasSuffix(c.Short, "."), c.CommandPath())
		for line := range strings.Lines(c.Long) {
			require.LessOrEqual(t, len(line), 86, "%s: %s", c.CommandPath(), line)
		}
		if c.Name() == "list" || c.Name() == "show" {
			require.NotNil(t, c.Flags().Lookup("output"), c.CommandPath())
		}
	}
}

func commands(c *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{c}
	for _, sub := range c.Commands() {
		all = append(all, commands(sub)...)
	}
	return all
}
