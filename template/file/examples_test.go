package file_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/template"
	"github.com/slipway-ci/slipway/template/file"
	"github.com/stretchr/testify/require"
)

const examples = "../../examples/templates"

func TestExamplesLoad(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(examples, "*.yaml"))
	require.NoError(t, err)
	require.Len(t, paths, 2)
	v := newValidator(t)
	for _, path := range paths {
		f, err := file.Load(path, file.Options{})
		require.NoError(t, err)
		require.NotEmpty(t, f.Templates)
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Empty(t, v.check(t, string(data)), path)
	}
}

func TestExampleMatrix(t *testing.T) {
	f, err := file.Load(filepath.Join(examples, "matrix.yaml"), file.Options{})
	require.NoError(t, err)
	var got []string
	for _, tmpl := range f.Templates {
		got = append(got, fmt.Sprintf("%s %dGiB max=%d idle=%d", tmpl.Key, tmpl.Memory>>30, tmpl.MaxConcurrency, tmpl.MinIdle))
	}
	require.Equal(t, []string{
		"ubuntu24-32vcpu 128GiB max=1 idle=0",
		"ubuntu22-2vcpu 4GiB max=20 idle=1",
		"ubuntu22-4vcpu 8GiB max=20 idle=0",
		"ubuntu24-2vcpu 4GiB max=20 idle=1",
		"ubuntu24-4vcpu 8GiB max=20 idle=0",
		"ubuntu24-8vcpu 16GiB max=2 idle=0",
	}, got)
	require.Len(t, f.Warnings, 1)
	require.Contains(t, f.Warnings[0].String(), "hand-written template, which takes its place")
}

// TestDocumentedExamples: each YAML block of docs/templates.md loads.
func TestDocumentedExamples(t *testing.T) {
	data, err := os.ReadFile("../../docs/templates.md")
	require.NoError(t, err)
	blocks := strings.Split(string(data), "```yaml\n")[1:]
	require.Len(t, blocks, 2)
	for _, block := range blocks {
		input, _, _ := strings.Cut(block, "```")
		f, err := file.Parse("docs", []byte(input), file.Options{})
		require.NoError(t, err)
		require.Empty(t, f.Warnings)
	}
}

func TestRenderedInJSON(t *testing.T) {
	f, err := file.Parse("t.yaml", []byte(`
templates:
  a: {labels: [x], cpu: 1.5, memory: 1g, max_concurrency: 3}
  b: {labels: [y], cpu: 2, memory: 1g, max_concurrency: 3, target_concurrency: 1, min_idle: 2, cost: 0.5, image: img, gpus: all, pull_policy: 1h,
    mounts: [{volume: v, target: /v}], shm_size: 1m, no_new_privileges: false, max_lifetime: 90m}
`), file.Options{})
	require.NoError(t, err)
	data, err := json.Marshal(f.Rendered())
	require.NoError(t, err)
	require.Equal(t, `[{"key":"a","labels":["x"],"image":"","cpu":1.5,"memory_bytes":1073741824,"max_concurrency":3,`+
		`"target_concurrency":0,"min_idle":0,"cost":1.5,"no_new_privileges":true},`+
		`{"key":"b","labels":["y"],"image":"img","cpu":2,"memory_bytes":1073741824,"max_concurrency":3,`+
		`"target_concurrency":1,"min_idle":2,"cost":0.5,"pull_policy":"1h0m0s","gpus":"all","shm_size_bytes":1048576,`+
		`"mounts":[{"volume":"v","target":"/v"}],"no_new_privileges":false,"max_lifetime":"1h30m0s"}]`, string(data))
}

func ExampleParse() {
	f, err := file.Parse("templates.yaml", []byte(`
defaults: {memory: 2g, max_concurrency: 4}
matrix:
  linux:
    axes: {cpu: [2, 4]}
    template:
      labels: [linux, "linux-${{ cpu }}"]
      cpu: ${{ cpu }}
`), file.Options{DefaultImage: "ghcr.io/acme/runner"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, t := range template.Select(f.Templates, []string{"linux"}) {
		fmt.Println(t.Key, t.Labels, t.Image)
	}
	// Output:
	// linux-2 [linux linux-2] ghcr.io/acme/runner
	// linux-4 [linux linux-4] ghcr.io/acme/runner
}

func ExampleError() {
	_, err := file.Parse("templates.yaml", []byte(`
templates:
  small: {label: [linux], cpu: two, memory: 4GiB, max_concurrency: 1}
`), file.Options{})
	fmt.Println(err)
	// Output:
	// templates.yaml:3:11: templates.small: unknown field "label"; did you mean labels?
	// templates.yaml:3:32: templates.small.cpu: must be a number, this is text ("two")
}
