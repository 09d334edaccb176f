package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/hub/api"
)

const linux = `{"name": "linux", "labels": ["linux"], "image": "ghcr.io/x/y:1", "cpu": 2, "memory": "4GiB", "max": 10, "hosts": ["a"], "env": {"A": "canary-1"}}`

func TestScaleSets(t *testing.T) {
	w := newWorld(t)
	w.add("a")
	var set api.ScaleSet
	a := w.do("POST", "scale-sets", linux)
	w.into(201, a, &set)
	require.Equal(t, "linux", set.Name)
	require.Equal(t, "4GiB", set.Memory)
	require.Equal(t, []string{"a"}, set.Hosts)
	etag := a.header.Get("ETag")
	require.NotEmpty(t, etag)
	w.problem(409, "name-taken", w.do("POST", "scale-sets", linux))

	a = w.do("GET", "scale-sets/linux", nil)
	w.into(200, a, &set)
	require.Equal(t, etag, a.header.Get("ETag"))
	put := `{"labels": ["linux"], "image": "ghcr.io/x/y:1", "cpu": 2, "memory": "4GiB", "max": 20, "hosts": ["a"], "env": {"A": "canary-2"}}`
	a = w.do("PUT", "scale-sets/linux", put, "If-Match", etag)
	w.into(200, a, &set)
	require.Equal(t, 20, set.Max)
	now := a.header.Get("ETag")
	require.NotEqual(t, etag, now)
	a = w.do("PUT", "scale-sets/linux", put, "If-Match", etag)
	w.problem(412, "stale", a)
	require.Equal(t, now, a.header.Get("ETag"))
	w.problem(412, "stale", w.do("DELETE", "scale-sets/linux", nil, "If-Match", etag))
	w.problem(404, "not-found", w.do("PUT", "scale-sets/other", put))
	w.problem(422, "invalid", w.do("PUT", "scale-sets/linux", strings.Replace(linux, "linux", "renamed", 1)))

	var list struct {
		Items []api.ScaleSet
		Next  *string
	}
	w.into(201, w.do("POST", "scale-sets", strings.Replace(linux, "linux", "arm", 1)), &set)
	w.into(200, w.do("GET", "scale-sets?limit=1", nil), &list)
	require.Equal(t, "arm", list.Items[0].Name)
	w.into(200, w.do("GET", "scale-sets?limit=1&cursor="+*list.Next, nil), &list)
	require.Equal(t, "linux", list.Items[0].Name)
	require.Nil(t, list.Next)
	w.into(200, w.do("GET", "scale-sets?control_plane=shipfox", nil), &list)
	require.Empty(t, list.Items)

	var verdicts struct{ Items []api.Verdict }
	w.into(200, w.do("GET", "scale-sets/linux/placement", nil), &verdicts)
	require.Len(t, verdicts.Items, 1)
	require.Equal(t, "a", verdicts.Items[0].Host)
	require.False(t, verdicts.Items[0].Eligible)
	require.NotEmpty(t, verdicts.Items[0].Reason)
	w.problem(404, "not-found", w.do("GET", "scale-sets/nope/placement", nil))

	require.Equal(t, 204, w.do("DELETE", "scale-sets/linux", nil, "If-Match", now).status)
	w.problem(404, "not-found", w.do("DELETE", "scale-sets/linux", nil))
	w.problem(404, "not-found", w.do("GET", "scale-sets/linux", nil))
}

// A document's own errors are told, all of them, each with its field.
func TestWhatIsWrongWithAScaleSetIsSaid(t *testing.T) {
	w := newWorld(t)
	p := w.problem(422, "invalid", w.do("POST", "scale-sets", `{"name": "x", "labels": [], "cpu": -1, "memory": "4GiB", "max": 1, "imgae": "y"}`))
	var locations []string
	for _, e := range p.Errors {
		locations = append(locations, e.Location)
	}
	require.Subset(t, locations, []string{"body.labels", "body.cpu"})
	require.Contains(t, text(t, p.Errors), `did you mean`)
	p = w.problem(422, "invalid", w.do("POST", "scale-sets", linux))
	require.Contains(t, p.Errors[0].Message, `there is no host "a"`)
	p = w.problem(422, "invalid", w.do("POST", "scale-sets", strings.Replace(linux, `"linux"`, `"-"`, 1)))
	require.Equal(t, "body.name", p.Errors[0].Location)
	w.problem(422, "invalid", w.do("POST", "scale-sets", strings.Replace(linux, `"linux"`, `3`, 1)))
	for _, bad := range []string{`{"name`, `[]`, `null`, `"x"`} {
		require.Contains(t, []int{400, 422}, w.do("POST", "scale-sets", bad).status, bad)
	}
	w.problem(413, "too-large", w.do("POST", "scale-sets", `{"name": "`+strings.Repeat("x", 1<<20)+`"}`))
}

func TestApplyAndExport(t *testing.T) {
	w := newWorld(t)
	w.add("a")
	file := "version: 1\nscale_sets:\n  linux: {labels: [linux], image: x, cpu: 2, memory: 4GiB, max: 10, hosts: [a], env: {A: canary-1}}\n"
	apply := func(query, text string, headers ...string) answer {
		return w.do("POST", "scale-sets/apply"+query, text, append([]string{"Content-Type", "application/yaml"}, headers...)...)
	}
	var diff api.Diff
	w.into(200, apply("?dry_run=true", file), &diff)
	require.True(t, diff.DryRun)
	require.Len(t, diff.Changes, 1)
	require.Equal(t, "create", diff.Changes[0].Action)
	w.problem(404, "not-found", w.do("GET", "scale-sets/linux", nil))
	revision := `"` + text(t, diff.Revision) + `"`
	if diff.Revision == 0 {
		revision = "*"
	}
	w.into(200, apply("", file, "If-Match", revision), &diff)
	require.False(t, diff.DryRun)

	w.into(200, apply("?dry_run=true", file), &diff)
	require.Empty(t, diff.Changes)
	require.Equal(t, []string{"linux"}, diff.Unchanged)
	agreed := `"` + text(t, diff.Revision) + `"`
	w.into(200, apply("", strings.Replace(file, "max: 10", "max: 11", 1)), &diff)
	w.problem(412, "stale", apply("", file, "If-Match", agreed))
	w.problem(412, "stale", apply("", file, "If-Match", `"x"`))
	large := file + strings.Repeat("# "+strings.Repeat("x", 1<<10)+"\n", 3<<10)
	require.Equal(t, 200, apply("?dry_run=true", large).status, "a file may be larger than other bodies")
	w.problem(413, "too-large", apply("", large+large))

	a := w.do("GET", "scale-sets/export", nil, "Accept", "application/yaml")
	require.Equal(t, 200, a.status)
	require.Equal(t, "application/yaml", a.header.Get("Content-Type"))
	require.Contains(t, a.body, "max: 11")
	w.into(200, apply("?prune=true", a.body), &diff)
	require.Empty(t, diff.Changes, "applying what was exported changes nothing")
	w.into(200, apply("?prune=true", "version: 1\nscale_sets: {}\n"), &diff)
	require.Equal(t, "delete", diff.Changes[0].Action)

	p := w.problem(422, "invalid", apply("", "version: 1\nscale_sets:\n  linux: {lables: [linux]}\n"))
	require.Contains(t, p.Errors[0].Message, "line 3, column")
	require.Contains(t, p.Detail, "scale-sets.yaml:3:")
	w.problem(422, "invalid", apply("", ": ["))
}

func TestCredentials(t *testing.T) {
	w := newWorld(t)
	w.add("a")
	const canary = "canary-password"
	spec := api.CredentialSpec{Registry: "GHCR.io", Username: "bot", Password: canary}
	var c api.Credential
	w.into(200, w.do("PUT", "credentials/ghcr", spec), &c)
	require.Equal(t, "ghcr.io", c.Registry)
	require.NotContains(t, w.do("GET", "credentials", nil).body, canary)
	w.into(201, w.do("POST", "scale-sets", strings.Replace(linux, `"cpu"`, `"credential": "ghcr", "cpu"`, 1)), &api.ScaleSet{})
	p := w.problem(409, "credential-in-use", w.do("DELETE", "credentials/ghcr", nil))
	require.Contains(t, p.Detail, "linux")
	p = w.problem(409, "credential-in-use", w.do("PUT", "credentials/ghcr", api.CredentialSpec{Registry: "docker.io", Username: "bot", Password: canary}))
	require.NotContains(t, p.Detail, canary)
	a := w.do("PUT", "credentials/ghcr", `{"registry": "", "username": "`+canary+`", "password": ["`+canary+`"]}`)
	w.problem(422, "invalid", a)
	require.NotContains(t, a.body, canary)
	require.Equal(t, 204, w.do("DELETE", "scale-sets/linux", nil).status)
	require.Equal(t, http.StatusNoContent, w.do("DELETE", "credentials/ghcr", nil).status)
	w.problem(404, "not-found", w.do("DELETE", "credentials/ghcr", nil))

	audit := w.do("GET", "audit?limit=500", nil).body
	require.NotContains(t, audit, canary)
	require.Contains(t, audit, `"registry"`)
}
