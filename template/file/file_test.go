package file_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-ci/slipway/template"
	"github.com/slipway-ci/slipway/template/file"
	"github.com/stretchr/testify/require"
)

const small = "templates: {a: {labels: [x], cpu: 1, memory: 1g, max_concurrency: 1}}\n"

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "templates.yaml")
	require.NoError(t, os.WriteFile(path, []byte(small), 0o600))
	f, err := file.Load(path, file.Options{DefaultImage: " base:1 "})
	require.NoError(t, err)
	require.Equal(t, []template.Template{{
		Key: "a", Labels: []string{"x"}, Image: "base:1", CPU: 1, Memory: 1 << 30, MaxConcurrency: 1,
	}}, f.Templates)
	require.Empty(t, f.Warnings)
}

func TestLoadTellsWhereTheErrorIs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "templates.yaml")
	require.NoError(t, os.WriteFile(path, []byte("templates:\n  a: {cpu: x}\n"), 0o600))
	_, err := file.Load(path, file.Options{})
	require.ErrorContains(t, err, path+":2:12: templates.a.cpu: must be a number")
}

func TestLoadOfNoFile(t *testing.T) {
	_, err := file.Load(filepath.Join(t.TempDir(), "none.yaml"), file.Options{})
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = file.Load(t.TempDir(), file.Options{})
	require.Error(t, err)
	var parseErr *file.Error
	require.False(t, errors.As(err, &parseErr), "a folder is no error of the content")
}

func TestSizeLimit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "templates.yaml")
	padding := strings.Repeat("#", file.MaxSize-len(small))
	require.NoError(t, os.WriteFile(path, []byte(small+padding), 0o600))
	_, err := file.Load(path, file.Options{})
	require.NoError(t, err, "a file of exactly the size")
	require.NoError(t, os.WriteFile(path, []byte(small+padding+"#"), 0o600))
	_, err = file.Load(path, file.Options{})
	require.ErrorContains(t, err, "larger than 1024 KiB")
}

func TestAllowedBindsMustBeAbsolute(t *testing.T) {
	_, err := file.Parse("t.yaml", []byte(small), file.Options{AllowedBinds: []string{"cache"}})
	require.EqualError(t, err, `allowed bind "cache": not an absolute path`)
}

func TestProblemsAreSortedAndBounded(t *testing.T) {
	var input strings.Builder
	input.WriteString("templates:\n")
	for i := range 300 {
		fmt.Fprintf(&input, "  t%d: {colour: red, labels: [x], cpu: 1, memory: 1g, max_concurrency: 1}\n", i)
	}
	_, err := file.Parse("t.yaml", []byte(input.String()), file.Options{})
	var parseErr *file.Error
	require.ErrorAs(t, err, &parseErr)
	require.Len(t, parseErr.Problems, 100)
	require.Equal(t, 200, parseErr.Dropped)
	require.Contains(t, err.Error(), "t.yaml: and 200 more problems")
	require.True(t, slices.IsSortedFunc(parseErr.Problems, func(a, b file.Problem) int { return a.Line - b.Line }))
	require.Equal(t, file.Problem{Line: 2, Column: 8, Path: "templates.t0", Message: `unknown field "colour"`}, parseErr.Problems[0])
}

func TestFailedVariantsAreCounted(t *testing.T) {
	_, err := file.Parse("t.yaml", []byte(`
defaults: {labels: [x], memory: 1g, max_concurrency: 1}
matrix:
  f: {axes: {a: [3, 2], b: "${{ range(1, 10, 1) }}"}, template: {cpu: "${{ a - 2.0 }}"}}
`), file.Options{})
	var parseErr *file.Error
	require.ErrorAs(t, err, &parseErr)
	require.Len(t, parseErr.Problems, 1)
	p := parseErr.Problems[0]
	require.Equal(t, 10, p.Failed)
	require.Equal(t, 20, p.Variants)
	require.Len(t, p.Samples, 5)
	require.Equal(t, "a=2, b=1", p.Samples[0].Bindings)
	require.Equal(t, []file.Problem{{Line: 4, Column: 71, Path: "cpu", Message: "must be above 0, this is 0"}}, p.Samples[0].Problems)
}

// Files with what is dear to evaluate: each ends, with an error, in a short time.
func TestNothingHangs(t *testing.T) {
	deep := strings.Repeat("[", 5000) + strings.Repeat("]", 5000)
	parens := strings.Repeat("(", 3000) + "1" + strings.Repeat(")", 3000)
	nested := "[0]"
	for range 20 {
		nested = "[" + nested + "].map(a, a + a)[0]"
	}
	ten := "[1,2,3,4,5,6,7,8,9,10]"
	loop := ten + ".all(e, true)"
	for _, v := range []string{"d", "c", "b", "a"} {
		loop = ten + ".all(" + v + ", " + loop + ")"
	}
	const defaults = "defaults: {labels: [x], cpu: 1, memory: 1g, max_concurrency: 1}\n"
	family := func(variants int, lets string) string {
		return fmt.Sprintf("%smatrix:\n  f:\n    axes: {i: \"${{ range(1, %d, 1) }}\"}\n    let:\n%s    template: {}\n", defaults, variants, lets)
	}
	doubling := `      l0: "${{ 'aaaaaaaaaaaaaaaa' }}"` + "\n"
	lists := `      l0: "${{ [1, 2] }}"` + "\n"
	shared := lists
	for i := range 40 {
		doubling += fmt.Sprintf("      l%d: \"${{ l%d + l%d }}\"\n", i+1, i, i)
		lists += fmt.Sprintf("      l%d: \"${{ l%d + l%d }}\"\n", i+1, i, i)
		shared += fmt.Sprintf("      l%d: \"${{ [l%d, l%d] }}\"\n", i+1, i, i)
	}
	compare := "vars: {big: [" + strings.Repeat("0,", 15000) + "0]}\n" + defaults +
		"templates:\n  t: {image: \"${{ range(1, 1000, 1).all(i, vars.big == vars.big) ? 'a' : 'b' }}\"}\n"
	var excludes strings.Builder
	excludes.WriteString("vars: {big: [" + strings.Repeat("0,", 1000) + "0]}\n" + defaults + "matrix:\n  f:\n    axes: {j: \"${{ range(1, 1000, 1) }}\", i: [\"${{ vars.big }}\"]}\n    exclude:\n")
	for range 1000 {
		excludes.WriteString("      - {i: \"${{ vars.big }}\", j: 0}\n")
	}
	excludes.WriteString("    template: {}\n")
	for name, input := range map[string]string{
		"deep YAML":               "vars: " + deep,
		"deep expression":         defaults + "templates: {a: {image: \"${{ " + parens + " }}\"}}",
		"nested sums of lists":    defaults + "templates: {a: {image: \"${{ string(size(" + nested + ")) }}\"}}",
		"loops, a thousand times": family(1000, "      a: \"${{ "+loop+" }}\"\n"),
		"doubling text":           family(20, doubling),
		"doubling lists":          family(20, lists),
		"sharing lists":           family(20, shared),
		"comparing large values":  compare,
		"excluding large values":  excludes.String(),
		"regular expressions": family(5, "      a: \"${{ range(1, 500, 1).exists(i, '"+strings.Repeat("a", 500)+
			"'.matches('"+strings.Repeat("(a*)*", 100)+"b')) }}\"\n"),
		"many expressions":       defaults + "templates: {a: {labels: [" + strings.Repeat("\"${{ 1 + 1 }}\",", 6000) + "]}}",
		"many other expressions": defaults + "templates: {a: {env: {" + numbered(6000) + "}}}",
		"wide defaults":          "defaults: {env: {" + numbered(3000) + "}}\n" + handWritten(500)[len("vars: {registry: ghcr.io/acme}\n"):],
	} {
		t.Run(name, func(t *testing.T) {
			if len(input) > file.MaxSize {
				t.Fatalf("the input has %d bytes", len(input))
			}
			start := time.Now()
			_, err := file.Parse("t.yaml", []byte(input), file.Options{})
			require.Error(t, err)
			require.Less(t, time.Since(start), time.Minute)
			t.Logf("%.2fs: %.300s", time.Since(start).Seconds(), err)
		})
	}
}

// TestLongRegularExpression: time grows with the product of the lengths, so the
// product is bounded before anything is matched.
func TestLongRegularExpression(t *testing.T) {
	input := "vars: {text: " + strings.Repeat("a", 2000) + ", pattern: \"" + strings.Repeat("(a|b)*", 100) + "\"}\n" +
		"defaults: {labels: [x], cpu: 1, memory: 1g, max_concurrency: 1}\n" +
		"templates: {t: {privileged: \"${{ vars.text.matches(vars.pattern) }}\"}}\n"
	_, err := file.Parse("t.yaml", []byte(input), file.Options{})
	require.ErrorContains(t, err, ": matches: text and pattern are too long")
}

func numbered(n int) string {
	var out strings.Builder
	for i := range n {
		fmt.Fprintf(&out, "A%d: \"${{ %d }}\", ", i, i)
	}
	return out.String()
}

func TestParseIsDeterministic(t *testing.T) {
	input := strings.Replace(matrixOf1000, "${{ cpu > 4.0 ? 10 : 50 }}", "\"${{ cpu > 4.0 ? 10 : 50 }}\"", 1)
	first, err := file.Parse("t.yaml", []byte(input), file.Options{})
	require.NoError(t, err)
	require.Len(t, first.Templates, 1000)
	second, err := file.Parse("t.yaml", []byte(input), file.Options{})
	require.NoError(t, err)
	require.Equal(t, first, second)
}
