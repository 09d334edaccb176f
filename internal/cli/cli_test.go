package cli

import (
	"encoding/json"
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
	"github.com/slipway-ci/slipway/template/file"
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
		{"hub-status", "hub status", map[string]clitest.Answer{"GET hub": ok("hub.json")}},
		{"hub-status-json", "hub status -o json", map[string]clitest.Answer{"GET hub": ok("hub.json")}},
		{"hub-status-bare", "hub status", map[string]clitest.Answer{"GET hub": {Body: `{"version":"1.4.0","url":"http://127.0.0.1:8570","runner_url":"http://172.17.0.1:8570","disk_free_bytes":1048576,"disk_total_bytes":1073741824,"disk_full":true}`}}},
		{"jobs-show-waits", "jobs show 018f-j1", map[string]clitest.Answer{
			"GET jobs/018f-j1": ok("job-queued.json"), "GET jobs/018f-j1/events": ok("job-events.json"), "GET jobs/018f-j1/why": ok("why.json")}},
		{"jobs-show-waits-json", "jobs show 018f-j1 -o json", map[string]clitest.Answer{
			"GET jobs/018f-j1": ok("job-queued.json"), "GET jobs/018f-j1/events": ok("job-events.json"), "GET jobs/018f-j1/why": ok("why.json")}},
		{"events-too-many", "events --follow --after 5", map[string]clitest.Answer{
			"GET events/stream": clitest.Problem(429, "too-many-streams", "this token has 16 streams of events open, and may have no more: close one")}},
		{"tokens-revoke-json", "tokens revoke 018f-t3 018f-t4 -o json", map[string]clitest.Answer{"DELETE tokens/018f-t3": {Status: 204}, "DELETE tokens/018f-t4": {Status: 204}}},
		{"jobs-cancel-json", "jobs cancel 018f-j1 -o json", map[string]clitest.Answer{"POST jobs/018f-j1/cancel": ok("job-queued.json")}},
		{"jobs-wait-json", "jobs wait 018f-j2 018f-j3 -o json", map[string]clitest.Answer{
			"GET jobs/018f-j2": ok("job-queued.json"), "GET jobs/018f-j2?wait_seconds=30": ok("job-failed.json"), "GET jobs/018f-j3?wait_seconds=30": ok("job-failed.json")}},
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
		"events --limit 0":                             "--limit is 0: 1 to 500 is allowed",
		"events --after -1":                            "--after is -1",
		"events extra":                                 `"extra" is one argument too many`,
		"audit":                                        "a command is missing: list",
		"audit list --limit 501":                       "--limit is 501",
		"audit list --since -1h":                       "--since is -1h0m0s",
		"tokens create --kind api":                     `--role is "": admin, operator or viewer is needed`,
		"tokens create --kind api --role root":         `--role is "root"`,
		"tokens create --kind admin --role viewer":     "--role is for --kind api alone",
		"tokens create --kind provisioner --api older": `--api is "older"`,
		"tokens create --kind admin --expires 0s":      "--expires is 0s: 1s to",
		"tokens create --kind admin --expires 1ms":     "--expires is 1ms",
		"whoami x": `"x" is one argument too many`,
		"release":  "a command is missing: keygen, sign, verify",
		"release sign --version 1.0.0 slipway-agent-a-b": "--key is missing",
		"release sign --key k slipway-agent-a-b":         "--version is missing",
		"release sign --key k --version 1.0.0":           "a program, slipway-agent-<os>-<arch> is missing",
		"release sign --key k --version 1.0.0 agent":     "agent: a name such as slipway-agent-linux-amd64 is needed",
		"release verify slipway-agent-linux-amd64":       "--key is missing",
		"completion":                                   "a command is missing: bash, fish, powershell, zsh (see slipway completion --help)",
		"completion tcsh":                              `unknown command "tcsh"; did you mean "bash"?`,
		"events --limit abc":                           `--limit is "abc": a whole number is needed`,
		"jobs wait x --timeout abc":                    `--timeout is "abc": a time such as 90s, 30m or 24h is needed`,
		"jobs submit --labels a --timeout 9000h -- x":  "--timeout is 9000h0m0s: at most 168h0m0s is allowed",
		"tokens create --kind admin --expires 999999h": "--expires is 999999h0m0s: 1s to 87600h0m0s is allowed",
		"jobs submit --labels a --run caf\xe9":         "run is not UTF-8 text, at its byte 3: only UTF-8 can be sent",
		"jobs submit --labels a --env A=\xff -- x":     "env.A is not UTF-8 text, at its byte 0: only UTF-8 can be sent",
		"jobs submit --labels a -- x \xff":             "command[1] is not UTF-8 text, at its byte 0: only UTF-8 can be sent",
		"hosts add a --labels k=\xff":                  "labels.k is not UTF-8 text, at its byte 0: only UTF-8 can be sent",
		"hsots list":                                   `did you mean "hosts"?`,
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

// A script that is no text, or too long, does not reach the hub; from standard input
// neither.
func TestScriptsThatAreRefusedHere(t *testing.T) {
	for script, want := range map[string]string{
		"printf '\xe9\xff' | od -c":    "run is not UTF-8 text, at its byte 8: only UTF-8 can be sent",
		strings.Repeat("x", 256<<10+1): "--run: the script is longer than 262144 bytes, which is the most",
		strings.Repeat("x", 3<<20):     "--run: the script is longer than 262144 bytes, which is the most",
	} {
		h := clitest.New(t)
		res := h.Run(Root, strings.NewReader(script), "jobs", "submit", "--labels", "a", "--run", "-")
		require.Equal(t, command.ExitUsage, res.Code, res.Stderr)
		require.Contains(t, res.Stderr, want)
		require.Equal(t, 1, strings.Count(res.Stderr, "\n"), res.Stderr)
		require.Empty(t, h.Asked())
	}
}

func TestVersion(t *testing.T) {
	flag, word := clitest.Run(t, Root, nil, "--version"), clitest.Run(t, Root, nil, "version")
	require.Zero(t, flag.Code, flag.Stderr)
	require.Regexp(t, `^slipway \S+ go1\.`, flag.Stdout)
	require.Equal(t, word, flag)
}

func TestValidateInJSON(t *testing.T) {
	for text, want := range map[string]string{
		"templates:\n  x:\n    imgae: y\n":                                                  `"line": 3,`,
		"templates: {x: {labels: [a], image: y, cpu: 1, memory: 1g, max_concurrency: 1}}\n": "[]",
	} {
		res := clitest.Run(t, Root, strings.NewReader(text), "templates", "validate", "-o", "json", "-")
		var found []finding
		require.NoError(t, json.Unmarshal([]byte(res.Stdout), &found), res.Stdout+res.Stderr)
		require.Contains(t, res.Stdout, want)
		require.Empty(t, res.Stderr)
		if want == "[]" {
			require.Zero(t, res.Code)
			continue
		}
		require.Equal(t, 1, res.Code)
		require.Equal(t, finding{"stdin", 3, 5, `templates.x: unknown field "imgae"; did you mean image?`}, found[0])
	}
	wrong := &file.Error{File: "f", Dropped: 2, Problems: []file.Problem{{Line: 1, Column: 2, Path: "p", Message: "m", Samples: []file.Sample{
		{Bindings: "os=linux", Problems: []file.Problem{{Line: 3, Column: 4, Message: "n"}}},
	}}}}
	require.Equal(t, []finding{{"f", 1, 2, "p: m"}, {"f", 3, 4, "os=linux: n"}, {"f", 0, 0, "and 2 more problems"}}, findings(wrong))
	res := clitest.Run(t, Root, nil, "templates", "validate", "-o", "json", filepath.Join(t.TempDir(), "none"))
	require.Equal(t, 1, res.Code)
	require.Empty(t, res.Stdout)
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
