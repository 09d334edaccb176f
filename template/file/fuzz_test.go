package file_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/slipway-ci/slipway/template"
	"github.com/slipway-ci/slipway/template/file"
)

// FuzzParse: whatever the file is, Parse ends soon, does not panic, and gives
// either an error with a place in the file or templates that keep the contract.
func FuzzParse(f *testing.F) {
	transcripts, _ := filepath.Glob("testdata/*.txt")
	for _, path := range transcripts {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for _, c := range readCases(&testing.T{}, string(data)) {
			f.Add([]byte(c.input))
		}
	}
	opts := file.Options{AllowedBinds: []string{"/srv/cache"}}
	f.Fuzz(func(t *testing.T, data []byte) {
		start := time.Now()
		parsed, err := file.Parse("t.yaml", data, opts)
		if took := time.Since(start); took > time.Minute {
			t.Fatalf("took %s", took)
		}
		if err != nil {
			checkError(t, data, err)
			return
		}
		checkFile(t, parsed)
		again, err := file.Parse("t.yaml", data, opts)
		if err != nil || !reflect.DeepEqual(parsed, again) {
			t.Fatalf("another result the second time: %v", err)
		}
	})
}

func checkError(t *testing.T, data []byte, err error) {
	var parseErr *file.Error
	if !errors.As(err, &parseErr) || len(parseErr.Problems) == 0 || err.Error() == "" {
		t.Fatalf("not an error of the content: %#v", err)
	}
	lines := 1
	for _, c := range data {
		if c == '\n' || c == '\r' {
			lines++
		}
	}
	// NEL and the like end lines in YAML too.
	lines += len(data) / 2
	for _, p := range parseErr.Problems {
		if p.Line < 0 || p.Line > lines || p.Column < 0 || p.Message == "" {
			t.Fatalf("a problem outside of the file's %d lines: %+v", lines, p)
		}
	}
}

func checkFile(t *testing.T, f *file.File) {
	if len(f.Templates) == 0 || len(f.Templates) > file.MaxTemplates {
		t.Fatalf("%d templates", len(f.Templates))
	}
	keys := map[string]bool{}
	for _, tmpl := range f.Templates {
		if keys[tmpl.Key] {
			t.Fatalf("key %q twice", tmpl.Key)
		}
		keys[tmpl.Key] = true
		canonical, err := template.Canonical(tmpl.Labels)
		switch {
		case len(tmpl.Key) == 0 || len(tmpl.Key) > 255:
			t.Fatalf("key %q", tmpl.Key)
		case err != nil || !slices.Equal(canonical, tmpl.Labels):
			t.Fatalf("labels %q: %v", tmpl.Labels, err)
		case tmpl.CPU <= 0 || tmpl.Memory <= 0 || tmpl.Cost < 0:
			t.Fatalf("cpu %v, memory %v, cost %v", tmpl.CPU, tmpl.Memory, tmpl.Cost)
		case tmpl.MaxConcurrency < 1 || tmpl.MaxConcurrency > 100_000:
			t.Fatalf("max_concurrency %d", tmpl.MaxConcurrency)
		case tmpl.TargetConcurrency < 0 || tmpl.TargetConcurrency > tmpl.MaxConcurrency:
			t.Fatalf("target_concurrency %d", tmpl.TargetConcurrency)
		case tmpl.MinIdle < 0 || tmpl.MinIdle > tmpl.MaxConcurrency:
			t.Fatalf("min_idle %d", tmpl.MinIdle)
		case tmpl.PullPolicy == "if-older" != (tmpl.PullMaxAge > 0):
			t.Fatalf("pull policy %s of %s", tmpl.PullPolicy, tmpl.PullMaxAge)
		case tmpl.MaxLifetime < 0 || tmpl.RegistrationDeadline < 0 || tmpl.ShmSize < 0 || tmpl.PidsLimit < -1 || tmpl.GPUs < -1:
			t.Fatalf("%+v", tmpl)
		}
		for _, m := range tmpl.Mounts {
			if m.Target == "" || (m.Volume == "") == (m.Bind == "") {
				t.Fatalf("mount %+v", m)
			}
			if m.Bind != "" {
				rel, err := filepath.Rel("/srv/cache", m.Bind)
				if err != nil || !filepath.IsLocal(rel) {
					t.Fatalf("bind %q is not below what is allowed", m.Bind)
				}
			}
		}
	}
}

// FuzzExpression: whatever an expression is, evaluating it ends soon and does
// not panic, alone and with text around it, over variables and as a let.
func FuzzExpression(f *testing.F) {
	for _, seed := range []string{
		"vars.n * 2.0", "vars.list[1]", "vars.map.a.b", "vars.list.map(x, x + x)", "range(1, 10, 2)", "toJson(vars)",
		"fromJson('{\"a\": [1, null]}').a", "has(vars.n) ? 'a' : 'b'", "'a'.matches('(a*)*')", "{'a': {1: [true, 2u, b'x']}}",
		"[1, 2].map(a, [a, a]).map(a, [a, a]) == [vars, vars]", "string(duration('1h') + duration('5s'))", "timestamp('2024-01-01T00:00:00Z')",
		"vars.list.exists(x, x in vars.map)", "type(vars)", "google.protobuf.Struct{fields: {'a': google.protobuf.Value{number_value: 1.0}}}",
		"vars.n > 1 && vars.n < 3 || !vars.flag", "-vars.n % 2.0", "size(vars.map) - 9223372036854775807", "int('x')", "dyn(1.5)",
		"vars.map.map(k, vars.map[k])", "[vars.n, -1, 0x10, 1e300, 1.0/0.0]", "\"}}\" + r'\\' + \"\"\"'\"\"\"", "vars // comment",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, expression string) {
		quoted, err := json.Marshal("${{" + expression + "}}")
		if err != nil || !utf8.ValidString(expression) {
			return
		}
		joined, _ := json.Marshal("a ${{" + expression + "}} b")
		input := fmt.Sprintf(`
vars: {n: 2, flag: true, none: null, list: [a, b, 3], map: {z: 1, a: {b: c}}}
defaults: {labels: [x], cpu: 1, memory: 1g, max_concurrency: 1}
templates: {t: {env: {A: %s, B: %s}, command: [%s, %s], gpus: %s}}
matrix:
  f: {axes: {i: %s}, let: {l: %s}, key: %s, template: {image: "${{ toJson(l) }}", user: %s, mounts: %s}}
`, quoted, joined, quoted, joined, quoted, quoted, quoted, joined, quoted, quoted)
		start := time.Now()
		parsed, err := file.Parse("t.yaml", []byte(input), file.Options{})
		if took := time.Since(start); took > time.Minute {
			t.Fatalf("took %s", took)
		}
		if err != nil {
			checkError(t, []byte(input), err)
			return
		}
		checkFile(t, parsed)
	})
}
