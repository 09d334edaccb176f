package scalesets

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/template/file"
)

func TestDocumentHasEveryField(t *testing.T) {
	var names []string
	for i := range reflect.TypeFor[Document]().NumField() {
		names = append(names, fieldName(i))
	}
	require.Equal(t, file.ScaleSetFieldNames(), names)
}

// everything sets each field to what is not its default.
const everything = `{"labels": ["a", "b"], "image": "ghcr.io/acme/runner:1", "cpu": 1.5, "memory": "1536MiB", "max": 7,
	"hosts": ["builder-1", "builder-2"], "selector": {"pool": "large"}, "per_host_max": 3, "min_disk_free": 1000, "runtime": "isolated",
	"credential": "ghcr", "control_plane": "shipfox", "target_concurrency": 2, "min_idle": 1, "cost": 0.5, "os": "linux", "arch": "arm64",
	"pull_policy": "24h", "entrypoint": ["/bin/sh", "-c"], "command": ["run it"], "env": {"A": "1", "B": ""}, "user": "1000:1000",
	"gpus": "all", "shm_size": "1GiB", "pids_limit": -1, "mounts": [{"volume": "cache", "target": "/c"}, {"bind": "/srv", "target": "/s", "read_only": true}],
	"tmpfs": {"/tmp": "size=64m"}, "network": "builds", "cap_drop": ["ALL"], "cap_add": ["NET_ADMIN"], "privileged": true, "read_only": true,
	"no_new_privileges": false, "registration_deadline": "1m30s", "max_lifetime": "2h"}`

func TestEveryFieldIsKept(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.AllowedBinds = []string{"/srv"} })
	_, err := w.SetCredential(t.Context(), "ghcr", CredentialSpec{Registry: "ghcr.io", Username: "u", Password: "p"})
	require.NoError(t, err)
	d := read(t, everything)
	value := reflect.ValueOf(d)
	for i := range value.NumField() {
		if name := fieldName(i); name != "inject_runner" { // not beside an entrypoint
			require.False(t, value.Field(i).IsZero(), "%s is lost in reading", name)
		}
	}
	text, err := json.Marshal(d)
	require.NoError(t, err)
	require.JSONEq(t, everything, string(text))
	s, err := w.Create(t.Context(), "all", d)
	require.NoError(t, err)
	require.Equal(t, d, w.document("all"))
	require.Equal(t, s, w.get("all"))
	require.Empty(t, compare(d, w.document("all")))

	// The stored form alone gives the same template as what was written.
	parsed, err := d.parse("all", w.opts)
	require.NoError(t, err)
	require.Equal(t, parsed.Template, s.Template)

	for field := range reflect.TypeFor[Document]().NumField() {
		without := d
		reflect.ValueOf(&without).Elem().Field(field).SetZero()
		if fieldName(field) == "inject_runner" {
			without.InjectRunner = true
		}
		changes := compare(d, without)
		require.Len(t, changes, 1)
		require.Equal(t, fieldName(field), changes[0].Field)
	}
}

func TestReadingJSON(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"any way of writing", `{"labels": [" B", "a"], "cpu": 2, "memory": 1073741824, "max": 1, "gpus": "all", "entrypoint": "sh -c 'a b'",
			"env": {"A": 1, "B": true}, "tmpfs": ["/t"], "cap_add": ["cap_sys_admin"], "pull_policy": "if-not-present", "no_new_privileges": true,
			"image": null, "runtime": "shared", "control_plane": "queue", "max_lifetime": "90m", "gpus": 2, "selector": {"n": 1}}`,
			`{"labels": ["a", "b"], "cpu": 2, "memory": "1GiB", "max": 1, "gpus": 2, "entrypoint": ["sh", "-c", "a b"],
			"env": {"A": "1", "B": "true"}, "tmpfs": {"/t": ""}, "cap_add": ["SYS_ADMIN"], "max_lifetime": "1h30m", "selector": {"n": "1"}}`},
		{"odd characters", `{"labels": ["a"], "cpu": 1, "memory": "1g", "max": 1, "env": {"A": "\ud83d\ude00 \u2028\u0085\u007f\ufeff<&>\\\"\n\t\u0001é"}}`,
			`{"labels": ["a"], "cpu": 1, "memory": "1GiB", "max": 1, "env": {"A": "\ud83d\ude00 \u2028\u0085\u007f\ufeff<&>\\\"\n\t\u0001é"}}`},
		{"an id as a host", `{"labels": ["a"], "cpu": 1, "memory": "1g", "max": 1, "hosts": ["b", "a", "b"]}`,
			`{"labels": ["a"], "cpu": 1, "memory": "1GiB", "max": 1, "hosts": ["a", "b"]}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			text, err := json.Marshal(read(t, c.text))
			require.NoError(t, err)
			require.JSONEq(t, c.want, string(text))
		})
	}
	for text, want := range map[string]string{
		`{"labels": ["a"], "cpu": 1, "memory": "1g", "max": 1, "imgae": "x"}`: `scale set: unknown field "imgae"; did you mean image?`,
		`{"labels": ["a"], "cpu": 1, "memory": "1g"}`:                         "scale set: max is missing",
		`[]`:     "scale set: must be a map of the scale set's fields, this is an empty list",
		`{"a": `: "unexpected end of JSON input",
	} {
		var d Document
		err := json.Unmarshal([]byte(text), &d)
		require.ErrorContains(t, err, want)
		require.Equal(t, strings.HasPrefix(want, "scale set"), errorIsInvalid(err))
	}
	var two struct{ A, B Document }
	require.Error(t, json.Unmarshal([]byte(`{"A": `+everything+`, "B": {}}`), &two))
}

func errorIsInvalid(err error) bool {
	var content *file.Error
	return errors.As(err, &content)
}
