package file

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/template"
	"github.com/stretchr/testify/require"
)

const docs = "../../docs/templates.md"

// base has what every template needs, so that one field more can be looked at.
const base = "labels: [base], cpu: 7, memory: 7g, max_concurrency: 7"

// parseOne parses a template with the given fields, later ones replacing those
// of base.
func parseOne(t *testing.T, fields string) template.Template {
	t.Helper()
	f, err := Parse("t.yaml", []byte("defaults: {"+base+"}\ntemplates: {t: {"+fields+"}}\n"), Options{})
	require.NoError(t, err)
	return f.Templates[0]
}

// TestEachFieldSetsWhatItSays: the example of a field changes exactly the fields
// of template.Template that the table names.
func TestEachFieldSetsWhatItSays(t *testing.T) {
	before := reflect.ValueOf(parseOne(t, ""))
	for _, f := range fields {
		t.Run(f.name, func(t *testing.T) {
			after := reflect.ValueOf(parseOne(t, f.name+": "+f.example))
			var changed []string
			for i := range before.NumField() {
				if !reflect.DeepEqual(before.Field(i).Interface(), after.Field(i).Interface()) {
					changed = append(changed, before.Type().Field(i).Name)
				}
			}
			require.ElementsMatch(t, f.sets, changed)
		})
	}
}

// TestTheTableIsComplete: every field of template.Template but its key can be
// set by the file, by one field of it.
func TestTheTableIsComplete(t *testing.T) {
	set := []string{"Key"}
	for _, f := range fields {
		set = append(set, f.sets...)
	}
	var want []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[template.Template]()) {
		want = append(want, f.Name)
	}
	require.ElementsMatch(t, want, set)
}

// TestEveryFieldIsRendered: what a template has is in its printed form.
func TestEveryFieldIsRendered(t *testing.T) {
	before := Render(parseOne(t, ""))
	for _, f := range fields {
		require.NotEqual(t, before, Render(parseOne(t, f.name+": "+f.example)), f.name)
	}
}

func TestFieldsHaveWhatPeopleNeed(t *testing.T) {
	var names []string
	for _, f := range fields {
		require.NotEmpty(t, f.value, f.name)
		require.NotEmpty(t, f.doc, f.name)
		require.NotEqual(t, f.required, f.fallback != "", "%s: either required or with a default", f.name)
		require.NotNil(t, f.schema, f.name)
		for _, word := range f.likely {
			require.Equal(t, normal(word), word, "%s: likely words are compared in their normal form", f.name)
			require.Equal(t, "; did you mean "+f.name+"?", suggestField(word))
		}
		names = append(names, f.name)
	}
	slices.Sort(names)
	require.Equal(t, slices.Compact(slices.Clone(names)), names, "a field twice")
}

// TestDocumentedFields: the table of docs/templates.md is this package's.
func TestDocumentedFields(t *testing.T) {
	data, err := os.ReadFile(docs)
	require.NoError(t, err)
	const begin, end = "<!-- fields: made by go test ./template/file -update -->\n", "<!-- end of fields -->\n"
	before, rest, ok := strings.Cut(string(data), begin)
	require.True(t, ok, "no table in %s", docs)
	table, after, ok := strings.Cut(rest, end)
	require.True(t, ok)
	want := tableOf(fields)
	if flag.Lookup("update").Value.String() == "true" {
		require.NoError(t, os.WriteFile(docs, []byte(before+begin+want+end+after), 0o644))
		return
	}
	require.Equal(t, want, table, "renew it with -update")
}

func tableOf(fields []field) string {
	var b strings.Builder
	b.WriteString("| field | takes | default | what it does |\n| --- | --- | --- | --- |\n")
	for _, f := range fields {
		fallback := f.fallback
		if f.required {
			fallback = "required"
		}
		fmt.Fprintf(&b, "| `%s` | %s. E.g. `%s` | %s | %s |\n", f.name, f.value, f.example, fallback, f.doc)
	}
	return b.String()
}
