package fleetcmd

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-ci/slipway/internal/cli/clitest"
	"github.com/slipway-ci/slipway/internal/cli/command"
)

func TestMain(m *testing.M) {
	pace = time.Millisecond
	goleak.VerifyTestMain(m)
}

func root() *cobra.Command {
	return command.Group("slipway", "Slipway", Hosts(), ScaleSets(), Runners(), Credentials())
}

func ok(file string) clitest.Answer { return clitest.Answer{Body: "@" + file} }

// transcript is one command line and what it does, in testdata/golden.
type transcript struct {
	name  string
	args  string
	hub   map[string][]clitest.Answer
	stdin io.Reader
}

func (x transcript) run(t *testing.T) clitest.Result {
	t.Helper()
	h := clitest.New(t)
	for line, answers := range x.hub {
		h.On(line, answers...)
	}
	return h.Transcript(x.name, root, x.stdin, strings.Fields(x.args)...)
}

type answers = map[string][]clitest.Answer

func one(line string, a ...clitest.Answer) answers { return answers{line: a} }

func TestHosts(t *testing.T) {
	lists := answers{"GET hosts": {ok("hosts-1.json")}, "GET hosts?cursor=c2": {ok("hosts-2.json")}}
	busy := clitest.Problem(409, "host-busy", "host in use: it is online: drain it and stop its agent first; if it is gone for good, remove it by force")
	for _, x := range []transcript{
		{name: "hosts-list", args: "hosts list", hub: lists},
		{name: "hosts-list-json", args: "hosts list -o json -l zone=a,disk=fast", hub: one("GET hosts?selector=disk%3Dfast&selector=zone%3Da", ok("hosts-2.json"))},
		{name: "hosts-list-yaml", args: "hosts list -o yaml", hub: lists},
		{name: "hosts-list-none", args: "hosts list", hub: one("GET hosts", clitest.Answer{Body: `{"items":[],"next":null}`})},
		{name: "hosts-show", args: "hosts show builder-01", hub: one("GET hosts/builder-01", ok("builder-01.json"))},
		{name: "hosts-show-draining", args: "hosts show builder-02", hub: one("GET hosts/builder-02", ok("builder-02.json"))},
		{name: "hosts-show-new", args: "hosts show builder-03", hub: one("GET hosts/builder-03", ok("builder-03.json"))},
		{name: "hosts-show-json", args: "hosts show builder-01 -o json", hub: one("GET hosts/builder-01", ok("builder-01.json"))},
		{name: "hosts-show-none", args: "hosts show nobody"},
		{name: "hosts-set", args: "hosts set builder-01 --max-runners 0 --labels zone=b --cordon=false --if-version 7", hub: one("PATCH hosts/builder-01", ok("builder-01.json"))},
		{name: "hosts-set-no-labels", args: "hosts set builder-02 --labels= --name=builder-2 --max-runners 4", hub: one("PATCH hosts/builder-02", ok("builder-02.json"))},
		{name: "hosts-set-name", args: "hosts set local --name=builder-02", hub: one("PATCH hosts/local", ok("builder-02.json"))},
		{name: "hosts-set-json", args: "hosts set builder-02 --cordon -o json", hub: one("PATCH hosts/builder-02", ok("builder-02.json"))},
		{name: "hosts-set-stale", args: "hosts set builder-01 --max-runners 3 --if-version 6", hub: one("PATCH hosts/builder-01", clitest.Problem(412, "stale", "its version is 7"))},
		{name: "hosts-set-invalid", args: "hosts set builder-01 --name Bad", hub: one("PATCH hosts/builder-01", clitest.Problem(422, "invalid", `name is "Bad"`))},
		{name: "hosts-cordon", args: "hosts cordon builder-01 builder-02", hub: answers{
			"POST hosts/builder-01/cordon": {ok("builder-01.json")}, "POST hosts/builder-02/cordon": {ok("builder-02.json")}}},
		{name: "hosts-uncordon-json", args: "hosts uncordon builder-03 -o json", hub: one("POST hosts/builder-03/uncordon", ok("builder-03.json"))},
		{name: "hosts-rotate", args: "hosts rotate-token builder-01", hub: one("POST hosts/builder-01/rotate-token", ok("builder-01.json"))},
		{name: "hosts-rotate-offline", args: "hosts rotate-token builder-01", hub: one("POST hosts/builder-01/rotate-token", clitest.Problem(409, "offline", "builder-01 is offline"))},
		{name: "hosts-revoke", args: "hosts revoke builder-01", hub: one("POST hosts/builder-01/revoke", ok("builder-01.json"))},
		{name: "hosts-revoke-forbidden", args: "hosts revoke builder-01", hub: one("POST hosts/builder-01/revoke", clitest.Problem(403, "forbidden", "the role admin is needed, this token has viewer"))},
		{name: "hosts-remove", args: "hosts remove builder-01 builder-02", hub: answers{"DELETE hosts/builder-01": {{Status: 204}}, "DELETE hosts/builder-02": {{Status: 204}}}},
		{name: "hosts-remove-busy", args: "hosts remove builder-01", hub: one("DELETE hosts/builder-01", busy)},
		{name: "hosts-remove-unknown", args: "hosts remove builder-01 nope builder-02 builder-03", hub: answers{"DELETE hosts/builder-01": {{Status: 204}}, "DELETE hosts/nope": {clitest.Problem(404, "not-found", "there is no such host")}}},
		{name: "hosts-remove-force", args: "hosts remove builder-01 --force", hub: one("DELETE hosts/builder-01?force=true", clitest.Answer{Status: 204})},
		{name: "hosts-not-configured", args: "hosts list", hub: one("GET hosts", clitest.Problem(404, "not-configured", "this hub was started without hosts"))},
		{name: "hosts-internal", args: "hosts list", hub: one("GET hosts", clitest.Problem(500, "internal", "internal error: see the hub's log"))},
	} {
		t.Run(x.name, func(t *testing.T) { x.run(t) })
	}
}

func TestEnrolments(t *testing.T) {
	for _, x := range []transcript{
		{name: "hosts-add", args: "hosts add builder-03 --sysbox --max-runners 8 --labels zone=a,disk=fast -l gpu=yes --cordon --ttl 30m", hub: one("POST hosts", ok("new-host.json"))},
		{name: "hosts-add-json", args: "hosts add builder-03 --isolated -o json", hub: one("POST hosts", ok("new-host.json"))},
		{name: "hosts-add-taken", args: "hosts add builder-03", hub: one("POST hosts", clitest.Problem(409, "name-taken", "there is a host builder-03 already"))},
		{name: "hosts-add-no-url", args: "hosts add builder-03", hub: one("POST hosts", clitest.Problem(409, "no-public-url", "the hub needs --public-url before a host can be enrolled"))},
		{name: "hosts-reenrol", args: "hosts reenrol builder-03", hub: one("POST hosts/builder-03/reenrol", ok("new-host.json"))},
		{name: "hosts-reenrol-shared", args: "hosts reenrol builder-03 --sysbox=false --ttl 1h", hub: one("POST hosts/builder-03/reenrol", ok("new-host.json"))},
		{name: "enrolments-list", args: "hosts enrolments list", hub: one("GET enrolments", ok("enrolments.json"))},
		{name: "enrolments-list-json", args: "hosts enrolments list -o json", hub: one("GET enrolments", ok("enrolments.json"))},
		{name: "enrolments-cancel", args: "hosts enrolments cancel 018f-e1 018f-e9", hub: one("DELETE enrolments/018f-e1", clitest.Answer{Status: 204})},
	} {
		t.Run(x.name, func(t *testing.T) {
			res := x.run(t)
			require.NotContains(t, res.Stderr, "sf_het_", "the line is for standard output alone")
			if res.Code == 0 && !strings.Contains(x.args, "json") && !strings.Contains(x.args, "enrolments") {
				require.Regexp(t, `^curl -fsSL https://hub\.example\.com/install/sf_het_[a-z0-9]+\.sh \| sudo bash\n$`, res.Stdout, "one line, for a shell")
			}
		})
	}
}

func TestDrain(t *testing.T) {
	begin := "POST hosts/builder-02/drain"
	for _, x := range []transcript{
		{name: "drain", args: "hosts drain builder-02 --deadline 10m", hub: one(begin, ok("builder-02.json"))},
		{name: "drain-json", args: "hosts drain builder-02 -o json", hub: one(begin, ok("builder-02.json"))},
		{name: "drain-wait", args: "hosts drain builder-02 --wait", hub: answers{begin: {ok("builder-02.json")},
			"GET hosts/builder-02": {ok("builder-02.json"), clitest.Problem(503, "stopping", "the hub is stopping"), ok("builder-02.json"), ok("builder-02-drained.json")}}},
		{name: "drain-wait-json", args: "hosts drain builder-02 --wait -o json", hub: answers{begin: {ok("builder-02.json")}, "GET hosts/builder-02": {ok("builder-02-drained.json")}}},
		{name: "drain-wait-empty", args: "hosts drain builder-02 --wait", hub: answers{begin: {ok("builder-02-drained.json")}, "GET hosts/builder-02": {ok("builder-02-drained.json")}}},
		{name: "drain-wait-uncordoned", args: "hosts drain builder-02 --wait", hub: answers{begin: {ok("builder-02.json")}, "GET hosts/builder-02": {ok("builder-01.json")}}},
	} {
		t.Run(x.name, func(t *testing.T) { x.run(t) })
	}
	t.Run("timeout", func(t *testing.T) {
		h := clitest.New(t).On(begin, ok("builder-02.json")).On("GET hosts/builder-02", ok("builder-02.json"))
		res := h.Run(root, nil, "hosts", "drain", "builder-02", "--wait", "--timeout", "30ms")
		require.Equal(t, 1, res.Code)
		require.Equal(t, "slipway: host builder-02 has 3 runners after 30ms\n", res.Stderr)
	})
}

func TestUpdate(t *testing.T) {
	none := clitest.Answer{Body: `{"items":[],"next":null}`}
	nobody := clitest.Problem(404, "not-found", "there is no such host")
	listed := func(order answers) answers {
		order["GET hosts"], order["GET hosts?cursor=c2"] = []clitest.Answer{ok("hosts-1.json")}, []clitest.Answer{ok("hosts-2.json")}
		return order
	}
	for _, x := range []transcript{
		{name: "update", args: "hosts update builder-01 builder-02", hub: one("POST hosts/update", ok("updating.json"))},
		{name: "update-all", args: "hosts update --all --canary 2 --version 1.5.0 -o json", hub: listed(one("POST hosts/update", ok("updating.json")))},
		{name: "update-none", args: "hosts update --all --wait", hub: answers{"POST hosts/update": {none}, "GET hosts": {none}}},
		{name: "update-left-out", args: "hosts update --all --wait", hub: listed(answers{"POST hosts/update": {none}, "GET hosts/018f-2": {ok("builder-02.json")}, "GET hosts/018f-7": {ok("builder-02.json")}})},
		{name: "update-unknown", args: "hosts update builder-01 nope", hub: answers{"POST hosts/update": {nobody}, "GET hosts/builder-01": {ok("builder-01.json")}, "GET hosts/nope": {nobody}}},
		{name: "update-wait", args: "hosts update --all --wait", hub: listed(answers{"POST hosts/update": {ok("updating.json")},
			"GET hosts/018f-1": {ok("builder-01-updating.json"), ok("builder-01-updated.json")}, "GET hosts/018f-2": {ok("builder-02.json")}, "GET hosts/018f-7": {ok("builder-02.json")}})},
	} {
		t.Run(x.name, func(t *testing.T) {
			res := x.run(t)
			switch x.name {
			case "update-wait":
				require.Equal(t, 1, res.Code, "builder-02 went back")
			case "update-left-out":
				require.Equal(t, 1, res.Code, "who takes no updates has not got it")
			}
		})
	}
	t.Run("timeout", func(t *testing.T) {
		h := clitest.New(t).On("POST hosts/update", ok("updating.json")).On("GET hosts/018f-1", ok("builder-01-updating.json"))
		res := h.Run(root, nil, "hosts", "update", "builder-01", "--wait", "--timeout", "30ms")
		require.Equal(t, 1, res.Code)
		require.Equal(t, "slipway: host builder-01 is not updated after 30ms: it has 1.4.0\n", res.Stderr)
	})
}

func TestScaleSets(t *testing.T) {
	set := "GET scale-sets/small"
	dry, apply := "POST scale-sets/apply?dry_run=true", "POST scale-sets/apply"
	for _, x := range []transcript{
		{name: "sets-list", args: "scale-sets list", hub: one("GET scale-sets", ok("scale-sets.json"))},
		{name: "sets-list-json", args: "scale-sets list -o json", hub: one("GET scale-sets", ok("scale-sets.json"))},
		{name: "sets-list-none", args: "scale-sets list", hub: one("GET scale-sets", clitest.Answer{Body: `{"items":[],"next":null}`})},
		{name: "sets-show", args: "scale-sets show small", hub: one(set, ok("small.json"))},
		{name: "sets-show-waiting", args: "scale-sets show small", hub: one(set, ok("waiting.json"))},
		{name: "sets-show-yaml", args: "scale-sets show small -o yaml", hub: one(set, ok("small.json"))},
		{name: "sets-create", args: "scale-sets create small -f testdata/small.yaml", hub: one("POST scale-sets", ok("small.json"))},
		{name: "sets-create-stdin", args: "scale-sets create idle -f -", stdin: strings.NewReader(`{"labels": ["x"], "cpu": 1, "memory": "1GiB", "max": 1}`), hub: one("POST scale-sets", ok("idle.json"))},
		{name: "sets-create-json", args: "scale-sets create small -f testdata/small.yaml -o json", hub: one("POST scale-sets", ok("small.json"))},
		{name: "sets-create-wrong", args: "scale-sets create small -f testdata/wrong.yaml"},
		{name: "sets-create-taken", args: "scale-sets create small -f testdata/small.yaml", hub: one("POST scale-sets", clitest.Problem(409, "name-taken", "there is a scale set small already"))},
		{name: "sets-edit-file", args: "scale-sets edit small -f testdata/small.yaml --if-version 5", hub: one("PUT scale-sets/small", ok("small.json"))},
		{name: "sets-edit-stale", args: "scale-sets edit small -f testdata/small.yaml --if-version 4", hub: one("PUT scale-sets/small", clitest.Problem(412, "stale", "its version is 5"))},
		{name: "sets-delete", args: "scale-sets delete small nothing", hub: one("DELETE scale-sets/small", clitest.Answer{Status: 204})},
		{name: "sets-dry-run", args: "scale-sets apply -f testdata/sets.yaml --dry-run", hub: one(dry, ok("diff.json"))},
		{name: "sets-dry-run-json", args: "scale-sets apply -f testdata/sets.yaml --dry-run -o json", hub: one(dry, ok("diff.json"))},
		{name: "sets-apply-nothing", args: "scale-sets apply -f testdata/sets.yaml --yes", hub: one(dry, ok("no-diff.json"))},
		{name: "sets-apply-yes", args: "scale-sets apply -f testdata/sets.yaml --yes", hub: answers{dry: {ok("diff.json")}, apply: {ok("applied.json")}}},
		{name: "sets-apply-prune-json", args: "scale-sets apply -f testdata/sets.yaml --prune -y -o json", hub: answers{
			dry + "&prune=true": {ok("diff.json")}, apply + "?prune=true": {ok("applied.json")}}},
		{name: "sets-apply-asked", args: "scale-sets apply -f testdata/sets.yaml", stdin: clitest.Terminal("y\n"), hub: answers{dry: {ok("diff.json")}, apply: {ok("applied.json")}}},
		{name: "sets-apply-stale", args: "scale-sets apply -f testdata/sets.yaml --yes", hub: answers{dry: {ok("diff.json")}, apply: {clitest.Problem(412, "stale", "the revision is 42")}}},
		{name: "sets-apply-wrong", args: "scale-sets apply -f testdata/wrong-sets.yaml --yes"},
		{name: "sets-apply-refused", args: "scale-sets apply -f testdata/sets.yaml --yes", hub: one(dry, clitest.Answer{Status: 422,
			Body: `{"type":"urn:slipway:problem:invalid","detail":"scale-sets.yaml:3:5: scale_sets.small.hosts: there is no host nobody\nscale-sets.yaml:4:5: x","errors":[{"location":"body.x","message":"line 3, column 5: there is no host nobody"}]}`})},
		{name: "sets-apply-invalid", args: "scale-sets apply -f testdata/sets.yaml --yes", hub: one(dry, clitest.Answer{Status: 422,
			Body: `{"type":"urn:slipway:problem:invalid","detail":"2 fields are wrong","errors":[{"location":"scale_sets.small.hosts","message":"there is no host nobody"}]}`})},
		{name: "sets-export", args: "scale-sets export", hub: one("GET scale-sets/export", ok("export.yaml"))},
		{name: "sets-export-json", args: "scale-sets export -o json", hub: one("GET scale-sets/export", ok("export.yaml"))},
		{name: "sets-why", args: "scale-sets why small", hub: one("GET scale-sets/small/placement", ok("placement.json"))},
		{name: "sets-why-json", args: "scale-sets why small -o json", hub: one("GET scale-sets/small/placement", ok("placement.json"))},
	} {
		t.Run(x.name, func(t *testing.T) { x.run(t) })
	}
}

// Whoever does not say yes changes nothing, and where nobody can be asked nothing
// is changed either.
func TestApplyAsks(t *testing.T) {
	for _, typed := range []string{"n\n", "\n", "", "yess\n", "no"} {
		h := clitest.New(t).On("POST scale-sets/apply?dry_run=true", ok("diff.json"))
		res := h.Run(root, clitest.Terminal(typed), "scale-sets", "apply", "-f", "testdata/sets.yaml")
		require.Equal(t, 1, res.Code, "%q is no yes", typed)
		require.Contains(t, res.Stderr, "nothing was changed")
		require.Len(t, h.Asked(), 1, "only the difference is asked for")
	}
	for _, args := range [][]string{{"-f", "testdata/sets.yaml"}, {"-f", "-"}} {
		h := clitest.New(t)
		res := h.Run(root, strings.NewReader("y\n"), append([]string{"scale-sets", "apply"}, args...)...)
		require.Equal(t, 2, res.Code)
		require.Contains(t, res.Stderr, "nobody can be asked here")
		require.Empty(t, h.Asked())
	}
}

// What show prints, create takes: nothing of it is lost.
func TestShownIsCreated(t *testing.T) {
	h := clitest.New(t).On("GET scale-sets/small", ok("small.json")).On("POST scale-sets", ok("small.json"))
	shown := h.Run(root, nil, "scale-sets", "show", "small", "-o", "yaml")
	require.Zero(t, shown.Code, shown.Stderr)
	h.Asked()
	made := h.Run(root, strings.NewReader(shown.Stdout), "scale-sets", "create", "small", "-f", "-")
	require.Zero(t, made.Code, made.Stderr)
	require.JSONEq(t, `{"name":"small","labels":["linux","small"],"image":"ghcr.io/acme/runner:24.04","cpu":2,"memory":"4GiB","max":20,"min_idle":2,
		"hosts":["builder-01","builder-02"],"per_host_max":4,"credential":"ghcr","env":{"CI":"true","NOTE":"yes: it is"},"mounts":[{"volume":"cache","target":"/cache"}],
		"tmpfs":{"/tmp":"size=64m"},"no_new_privileges":false}`, h.Asked()[0].Body)
}

func TestEditInAnEditor(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	editor := filepath.Join(dir, "editor")
	script := func(body string) {
		require.NoError(t, os.WriteFile(editor, []byte("#!/bin/sh\n"+body+"\n"), 0o700))
	}
	t.Setenv("VISUAL", "")
	t.Setenv("EDITOR", editor+" --flag")
	args := []string{"scale-sets", "edit", "small"}
	newHub := func() *clitest.Hub {
		return clitest.New(t).On("GET scale-sets/small", ok("small.json")).On("PUT scale-sets/small", ok("small.json"))
	}

	h := newHub()
	script(`sed -i 's/^max: 20/max: 21/' "$2"`)
	res := h.Run(root, clitest.Terminal(""), args...)
	require.Zero(t, res.Code, res.Stderr)
	asked := h.Asked()
	require.Equal(t, `"5"`, asked[1].IfMatch, "nobody else's edit is overwritten")
	require.Contains(t, asked[1].Body, `"max":21`)

	h = newHub()
	script("true")
	res = h.Run(root, clitest.Terminal(""), args...)
	require.Zero(t, res.Code)
	require.Contains(t, res.Stderr, "nothing was changed")
	require.Len(t, h.Asked(), 1)

	h = newHub()
	script("exit 3")
	require.Equal(t, 1, h.Run(root, clitest.Terminal(""), args...).Code)
	require.Len(t, h.Asked(), 1)
	left, err := filepath.Glob(filepath.Join(dir, "slipway-*"))
	require.NoError(t, err)
	require.Empty(t, left)

	// What was written is not lost to a mistake in it.
	h = newHub()
	script(`sed -i 's/^max: 20/maxx: 21/' "$2"`)
	res = h.Run(root, clitest.Terminal(""), args...)
	require.Equal(t, 2, res.Code)
	left, err = filepath.Glob(filepath.Join(dir, "slipway-*"))
	require.NoError(t, err)
	require.Len(t, left, 1)
	require.Contains(t, res.Stderr, "did you mean max?")
	require.Contains(t, res.Stderr, "what you wrote is kept in "+left[0])

	h = clitest.New(t)
	require.Equal(t, 2, h.Run(root, nil, args...).Code, "there is no terminal")
}

func TestRunners(t *testing.T) {
	for _, x := range []transcript{
		{name: "runners-list", args: "runners list", hub: one("GET runners?limit=50", ok("runners.json"))},
		{name: "runners-list-json", args: "runners list --host builder-01 --scale-set small --state running --limit 3 --cursor c -o json",
			hub: one("GET runners?cursor=c&host=builder-01&limit=3&scale_set=small&state=running", ok("runners.json"))},
		{name: "runners-show", args: "runners show 0192-r2", hub: one("GET runners/0192-r2", ok("runner.json"))},
		{name: "runners-show-json", args: "runners show 0192-r2 -o json", hub: one("GET runners/0192-r2", ok("runner.json"))},
		{name: "runners-logs", args: "runners logs 0192-r2 --tail 2", hub: one("GET runners/0192-r2/logs?tail=2", clitest.Answer{Body: "one\ntwo\n"})},
		{name: "runners-logs-offline", args: "runners logs 0192-r2", hub: one("GET runners/0192-r2/logs", clitest.Problem(409, "offline", "its host is offline"))},
		{name: "runners-stop", args: "runners stop 0192-r2 0192-r9", hub: one("POST runners/0192-r2/stop", ok("runner.json"))},
	} {
		t.Run(x.name, func(t *testing.T) { x.run(t) })
	}
}

func TestCredentials(t *testing.T) {
	const secret = "canary-password "
	set := "credentials set ghcr --registry ghcr.io --username ci --password-stdin"
	for _, x := range []transcript{
		{name: "credentials-list", args: "credentials list", hub: one("GET credentials", ok("credentials.json"))},
		{name: "credentials-list-json", args: "credentials list -o json", hub: one("GET credentials", ok("credentials.json"))},
		{name: "credentials-set", args: set, stdin: strings.NewReader(secret + "\r\n"), hub: one("PUT credentials/ghcr", ok("credential.json"))},
		{name: "credentials-set-json", args: set + " -o json", stdin: strings.NewReader(secret), hub: one("PUT credentials/ghcr", ok("credential.json"))},
		{name: "credentials-delete", args: "credentials delete ghcr", hub: one("DELETE credentials/ghcr", clitest.Answer{Status: 204})},
		{name: "credentials-delete-used", args: "credentials delete ghcr", hub: one("DELETE credentials/ghcr", clitest.Problem(409, "in-use", "it is used by small"))},
	} {
		t.Run(x.name, func(t *testing.T) {
			res := x.run(t)
			require.NotContains(t, res.Stdout+res.Stderr, "canary")
		})
	}
	h := clitest.New(t).On("PUT credentials/ghcr", ok("credential.json"))
	require.Zero(t, h.Run(root, strings.NewReader(secret+"\n"), strings.Fields(set)...).Code)
	require.Equal(t, `{"registry":"ghcr.io","username":"ci","password":"canary-password "}`, h.Asked()[0].Body, "one end of line is not the password's, all else is")
}

// Wrong calls are told before anything is asked of a hub, in one line and with
// exit code 2.
func TestUsage(t *testing.T) {
	long := strings.Repeat("x", maxPassword+1)
	for _, x := range []struct{ args, want, stdin string }{
		{"hosts", "a command is missing: add, cordon", ""},
		{"hosts lsit", `did you mean "list"?`, ""},
		{"hosts add", "the host's name is missing", ""},
		{"hosts add a b", `"b" is one argument too many`, ""},
		{"hosts add a --max-runners -1", "it can't be negative", ""},
		{"hosts add a --labels zone", `"zone": key=value is needed`, ""},
		{"hosts add a --labels zone=a,zone=b", "zone is there twice", ""},
		{"hosts add a --ttl 8000h", "1s to 168h0m0s is allowed", ""},
		{"hosts add a --ttl 1ms", "--ttl is 1ms", ""},
		{"hosts add a -o yaml", `"yaml": table or json is allowed`, ""},
		{"hosts reenrol a --ttl -1s", "--ttl is -1s", ""},
		{"hosts list -o xml", "table, json or yaml is allowed", ""},
		{"hosts set a", "there is nothing to set", ""},
		{"hosts set a --max-runners -2", "--max-runners is -2", ""},
		{"hosts set a --cordon --if-version -1", "--if-version is -1", ""},
		{"hosts cordon", "the host's name is missing", ""},
		{"hosts drain a --deadline -1s", "--deadline is -1s", ""},
		{"hosts drain a --timeout 1s", "--timeout is for --wait alone", ""},
		{"hosts drain a --wait --timeout -1s", "--timeout is -1s", ""},
		{"hosts update", "which hosts? Give names, or --all", ""},
		{"hosts update a --all", "which hosts?", ""},
		{"hosts update a --canary 0", "--canary is 0", ""},
		{"hosts update a --timeout 1s", "--timeout is for --wait alone", ""},
		{"hosts enrolments", "a command is missing: cancel, list", ""},
		{"hosts enrolments cancel", "an enrolment's id is missing", ""},
		{"scale-sets show", "the scale set's name is missing", ""},
		{"scale-sets create a", "--file is missing", ""},
		{"scale-sets create a -f -", "- is empty", ""},
		{"scale-sets edit a", "there is no terminal for an editor", ""},
		{"scale-sets edit a --if-version 3", "--if-version is for -f", ""},
		{"scale-sets apply --yes", "--file is missing", ""},
		{"scale-sets export -o table", "yaml or json is allowed", ""},
		{"runners list --limit 0", "1 to 500 is allowed", ""},
		{"runners list --state busy", `--state is "busy": starting, running`, ""},
		{"runners logs r --tail -1", "--tail is -1", ""},
		{"credentials set a --username u --password-stdin", "--registry is missing", ""},
		{"credentials set a --registry r --password-stdin", "--username is missing", ""},
		{"credentials set a --registry r --username u", "--password-stdin is missing", ""},
		{"credentials set a --registry r --username u --password-stdin", "the password is empty", "\n"},
		{"credentials set a --registry r --username u --password-stdin", "the password is longer than", long},
		{"credentials set a --password secret", "unknown flag: --password", ""},
	} {
		t.Run(x.args, func(t *testing.T) {
			h := clitest.New(t)
			res := h.Run(root, strings.NewReader(x.stdin), strings.Fields(x.args)...)
			require.Equal(t, command.ExitUsage, res.Code, res.Stderr)
			require.Contains(t, res.Stderr, x.want)
			require.Equal(t, 1, strings.Count(res.Stderr, "\n"), "one line: %s", res.Stderr)
			require.Regexp(t, `\(see slipway .*--help\)\n$`, res.Stderr)
			require.Empty(t, res.Stdout)
			require.Empty(t, h.Asked(), "a wrong call must not reach the hub")
		})
	}
}

func TestNamesAreCompleted(t *testing.T) {
	h := clitest.New(t).On("GET hosts", ok("hosts-1.json")).On("GET scale-sets", ok("scale-sets.json")).
		On("GET runners", ok("runners.json")).On("GET credentials", ok("credentials.json"))
	for args, want := range map[string]string{
		"hosts show b":                   "builder-01\nbuilder-02\n:4\n",
		"hosts show builder-01 b":        ":4\n",
		"hosts cordon builder-01 b":      "builder-02\n:4\n",
		"scale-sets why s":               "small\n:4\n",
		"runners logs 0192-r1":           "0192-r1\tsmall on builder-01\n:4\n",
		"runners list --host builder-02": "builder-02\n:4\n",
		"runners list --scale-set g":     "gpu\n:4\n",
		"runners list --state un":        "starting\nrunning\nstopping\nexited\nfailed\nunknown\n:4\n",
		"credentials delete g":           "ghcr\n:4\n",
		"hosts list -o j":                "table\njson\nyaml\n:4\n",
	} {
		res := h.Run(root, nil, append([]string{"__complete"}, strings.Fields(args)...)...)
		require.Zero(t, res.Code, res.Stderr)
		require.Equal(t, want, res.Stdout, args)
	}
	t.Setenv("SLIPWAY_TOKEN", "")
	res := clitest.Run(t, root, nil, "__complete", "hosts", "show", "b")
	require.Equal(t, ":4\n", res.Stdout, "without a hub there are no names, and no error")
}

func TestWaitsEndWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	looks := 0
	err := until(ctx, func() (bool, error) {
		if looks++; looks == 2 {
			cancel()
		}
		return false, nil
	})
	require.ErrorIs(t, err, context.Canceled)
}
