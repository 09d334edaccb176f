package file_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/template"
	"github.com/slipway-ci/slipway/template/file"
	"github.com/stretchr/testify/require"
)

const scaleSets = `version: 1
scale_sets:
  small:
    labels: [Small, linux]
    cpu: 2
    memory: 4GiB
    max: 10
    min_idle: 1
    hosts: [b, a, b]
    pull_policy: 24h
  gpu:
    labels: [gpu]
    cpu: 8
    memory: 32g
    max: 2
    gpus: all
    selector: {pool: gpu, rack: 7}
    per_host_max: 1
    min_disk_free: 10g
    runtime: isolated
    credential: ghcr
    control_plane: shipfox
`

func TestScaleSets(t *testing.T) {
	got, err := file.ParseScaleSets("s.yaml", []byte(scaleSets), file.Options{DefaultImage: "default"})
	require.NoError(t, err)
	require.Len(t, got.Sets, 2)
	small, gpu := got.Sets[0], got.Sets[1]
	require.Equal(t, template.Template{Key: "small", Labels: []string{"linux", "small"}, Image: "default", CPU: 2, Memory: 4 << 30,
		MaxConcurrency: 10, MinIdle: 1, PullPolicy: "if-older", PullMaxAge: 24 * time.Hour}, small.Template)
	require.Equal(t, []string{"a", "b"}, small.Hosts)
	require.Equal(t, file.ControlPlaneQueue, small.ControlPlane)
	require.False(t, small.Isolated)
	require.Equal(t, file.Place{Line: 9, Column: 16}, small.Places["hosts.a"])
	require.Equal(t, file.Problem{Line: 9, Column: 12, Path: "hosts.none", Message: "no 1"}, small.Problem("hosts.none", "no %d", 1))
	require.Equal(t, file.Problem{Line: 3, Column: 3, Path: "image", Message: "no"}, small.Problem("image", "no"))

	gpu.Places = nil
	require.Equal(t, file.ScaleSet{
		Template: template.Template{Key: "gpu", Labels: []string{"gpu"}, Image: "default", CPU: 8, Memory: 32 << 30, MaxConcurrency: 2, GPUs: -1},
		Selector: map[string]string{"pool": "gpu", "rack": "7"}, PerHostMax: 1, MinDiskFree: 10 << 30, Isolated: true,
		Credential: "ghcr", ControlPlane: file.ControlPlaneShipfox,
	}, gpu)

	got, err = file.ParseScaleSets("s.yaml", []byte("{version: 1, scale_sets: {}}"), file.Options{})
	require.NoError(t, err)
	require.Empty(t, got.Sets, "none at all is a file too: it is what an empty hub exports")
}

// one is a file with one scale set with these fields besides the required.
func one(fields string) string {
	return "version: 1\nscale_sets:\n  s:\n    {labels: [a], cpu: 1, memory: 1g, max: 3, " + fields + "}\n"
}

func TestScaleSetsThatAreRefused(t *testing.T) {
	for _, c := range []struct{ name, input, want string }{
		{"nothing", "", "s.yaml: the file is empty: it needs version and scale_sets"},
		{"a list", "[]", "s.yaml:1:1: the file must be a map with version, scale_sets; this is a list"},
		{"no version", "scale_sets: {}", "s.yaml:1:1: version is missing: write version: 1"},
		{"another version", "version: 2\nscale_sets: {}", "s.yaml:1:10: version: must be 1, this is a number (2)"},
		{"no scale sets", "version: 1", "s.yaml:1:1: scale_sets is missing: write {} for none"},
		{"a key of the other file", "version: 1\nscale_sets: {}\nmatrix: {}", `s.yaml:3:1: unknown key "matrix" in the file; known are version, scale_sets`},
		{"a misspelt key", "version: 1\nscale_set: {}", `s.yaml:2:1: unknown key "scale_set" in the file; did you mean scale_sets?`},
		{"a name twice", "version: 1\nscale_sets:\n  a: {}\n  a: {}", `s.yaml:4:3: key "a" is written twice; first at line 3`},
		{"a bad name", strings.Replace(one(""), "  s:", "  S_1:", 1), `s.yaml:3:3: scale_sets.S_1: "S_1" is not a name of a scale set: 1 to 63 characters of a-z, 0-9 and - are allowed`},
		{"a name of a route", strings.Replace(one(""), "  s:", "  export:", 1), `s.yaml:3:3: scale_sets.export: "export" is not a name of a scale set: the API has a route of that name`},
		{"another", strings.Replace(one(""), "  s:", "  apply:", 1), `"apply" is not a name of a scale set`},
		{"no map", "version: 1\nscale_sets: {a: 1}", "s.yaml:2:17: scale_sets.a: must be a map of the scale set's fields, this is a number (1)"},
		{"missing fields", "version: 1\nscale_sets:\n  a: {cpu: 1}", "s.yaml:3:3: scale_sets.a: labels is missing\ns.yaml:3:3: scale_sets.a: memory is missing\ns.yaml:3:3: scale_sets.a: max is missing"},
		{"a misspelt field", one("imgae: x"), `s.yaml:4:47: scale_sets.s: unknown field "imgae"; did you mean image?`},
		{"the template's word for max", one("max_concurrency: 1"), `unknown field "max_concurrency"; did you mean max?`},
		{"above max", one("min_idle: 4"), "s.yaml:4:57: scale_sets.s.min_idle: 4 is above max, which is 3"},
		{"a runtime by its name", one("runtime: sysbox-runc"), `scale_sets.s.runtime: must be shared or isolated, this is text ("sysbox-runc"); did you mean isolated?`},
		{"another runtime", one("runtime: shard"), `must be one of shared, isolated, this is text ("shard"); did you mean shared?`},
		{"another plane", one("control_plane: github"), `must be one of queue, shipfox, this is text ("github")`},
		{"one host", one("hosts: a"), `scale_sets.s.hosts: must be a list of names of hosts, this is text ("a")`},
		{"an empty host", one("hosts: [a, '']"), "scale_sets.s.hosts: must not be blank"},
		{"a selector as text", one("selector: a=b"), `scale_sets.s.selector: must be a map from label to value, this is text ("a=b")`},
		{"a bad label", one("selector: {Pool: x}"), `scale_sets.s.selector: "Pool" is not a label of a host`},
		{"a bad value", one("selector: {pool: 'a b'}"), `scale_sets.s.selector.pool: must be up to 63 characters`},
		{"a list as a value", one("selector: {pool: [a]}"), `scale_sets.s.selector.pool: must be text, a number or a boolean, this is a list`},
		{"no room", one("per_host_max: -1"), "scale_sets.s.per_host_max: must be 0 to 100000, this is -1"},
		{"an expression", one("image: 'x:${{ vars.tag }}'"), "s.yaml:4:54: scale_sets.s.image: has an expression, and scale sets evaluate none"},
		{"an expression deep inside", one("env: {A: '${{ 1 }}'}"), "scale_sets.s.env.A: has an expression"},
		{"a bind", one("mounts: [{bind: /etc, target: /x}]"), "scale_sets.s.mounts.bind: \"/etc\" is a folder of the host, and no such mount is allowed here"},
		{"no value", one("image: , user: u"), "scale_sets.s.image: no value: give one, or write null to leave the field out"},
		{"too many", "version: 1\nscale_sets:\n" + strings.Repeat("  x: {}\n", 1) + many(file.MaxScaleSets), "1001 scale sets: at most 1000 are allowed"},
		{"too large", "version: 1\n#" + strings.Repeat("x", file.MaxScaleSetsSize), "the file is larger than 4096 KiB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := file.ParseScaleSets("s.yaml", []byte(c.input), file.Options{})
			var content *file.Error
			require.ErrorAs(t, err, &content)
			require.Contains(t, err.Error(), c.want)
		})
	}
	_, err := file.ParseScaleSets("s.yaml", nil, file.Options{AllowedBinds: []string{"x"}})
	require.Error(t, err)
	var content *file.Error
	require.False(t, errors.As(err, &content))
}

func many(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "  s%d: {}\n", i)
	}
	return b.String()
}

func TestOneScaleSet(t *testing.T) {
	got, err := file.ParseScaleSet("document", "small", []byte(`{"labels": ["a"], "cpu": 1, "memory": 1024, "max": 1, "hosts": ["h"]}`), file.Options{})
	require.NoError(t, err)
	require.Equal(t, "small", got.Key)
	require.Equal(t, []string{"h"}, got.Hosts)
	_, err = file.ParseScaleSet("document", "small", []byte(`{"labels": ["a"], "cpu": 0, "memory": 1024, "max": 1}`), file.Options{})
	require.EqualError(t, err, "document:1:26: cpu: must be above 0, this is 0")
	_, err = file.ParseScaleSet("document", "-", []byte(`{}`), file.Options{})
	require.ErrorContains(t, err, `document:1:1: "-" is not a name of a scale set`)
}

func TestScaleSetSchema(t *testing.T) {
	v := &validator{patterns: map[string]*regexp.Regexp{}}
	require.NoError(t, json.Unmarshal(file.ScaleSetSchema(), &v.root))
	for _, good := range []string{scaleSets, "{version: 1, scale_sets: {}}", one("image: null")} {
		require.Empty(t, v.check(t, good))
	}
	for name, bad := range map[string]string{
		"no version":       "scale_sets: {}",
		"another version":  "{version: 2, scale_sets: {}}",
		"a bad name":       strings.Replace(one(""), "  s:", "  S:", 1),
		"an unknown field": one("imgae: x"),
		"a missing field":  "{version: 1, scale_sets: {a: {cpu: 1}}}",
		"a runtime":        one("runtime: sysbox-runc"),
		"a selector":       one("selector: [a]"),
		"no room":          one("per_host_max: -1"),
	} {
		require.NotEmpty(t, v.check(t, bad), name)
	}
}

func FuzzScaleSets(f *testing.F) {
	f.Add([]byte(scaleSets))
	f.Add([]byte(one("env: {A: b}")))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := file.ParseScaleSets("s.yaml", data, file.Options{})
		var content *file.Error
		switch {
		case err == nil:
			for _, s := range got.Sets {
				require.Empty(t, file.CheckScaleSetName(s.Key))
				require.NotEmpty(t, s.Labels)
				require.Positive(t, s.MaxConcurrency)
				require.LessOrEqual(t, s.MinIdle, s.MaxConcurrency)
			}
		default:
			require.ErrorAs(t, err, &content)
			require.NotEmpty(t, content.Problems)
		}
	})
}
