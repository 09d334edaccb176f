package file

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/template/file/internal/field"
)

// TestEveryFieldIsRendered: what a template has is in its printed form.
func TestEveryFieldIsRendered(t *testing.T) {
	const base = "labels: [base], cpu: 7, memory: 7g, max_concurrency: 7"
	render := func(fields string) Rendered {
		f, err := Parse("t.yaml", []byte("defaults: {"+base+"}\ntemplates: {t: {"+fields+"}}\n"), Options{})
		require.NoError(t, err)
		return f.Rendered()[0]
	}
	before := render("")
	for _, f := range field.Template() {
		require.NotEqual(t, before, render(f.Name+": "+f.Example), f.Name)
	}
}

// TestDocumentedFields: the tables of the reference are this package's.
func TestDocumentedFields(t *testing.T) {
	const begin, end = "<!-- fields: made by go test ./template/file -update -->\n", "<!-- end of fields -->\n"
	for path, fields := range map[string][]field.Field{
		"../../docs/templates.md":  field.Template(),
		"../../docs/scale-sets.md": field.ScaleSet(&field.Placement{}),
	} {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		before, rest, ok := strings.Cut(string(data), begin)
		require.True(t, ok, "no table in %s", path)
		table, after, ok := strings.Cut(rest, end)
		require.True(t, ok)
		want := tableOf(fields)
		if flag.Lookup("update").Value.String() == "true" {
			require.NoError(t, os.WriteFile(path, []byte(before+begin+want+end+after), 0o644))
			continue
		}
		require.Equal(t, want, table, "%s: renew it with -update", path)
	}
}

func tableOf(fields []field.Field) string {
	var b strings.Builder
	b.WriteString("| field | takes | default | what it does |\n| --- | --- | --- | --- |\n")
	for _, f := range fields {
		fallback := f.Fallback
		if f.Required {
			fallback = "required"
		}
		fmt.Fprintf(&b, "| `%s` | %s. E.g. `%s` | %s | %s |\n", f.Name, f.Value, f.Example, fallback, f.Doc)
	}
	return b.String()
}
