package file

import (
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/slipway-ci/slipway/template"
	"github.com/stretchr/testify/require"
)

const scaleSetDocs = "../../docs/scale-sets.md"

// What a template has and a scale set not: the runtime is the fleet's choice.
const notInScaleSets = "runtime"

func TestScaleSetFieldsAreATemplatesAndItsOwn(t *testing.T) {
	table := scaleSetFields(&ScaleSet{})
	names := ScaleSetFieldNames()
	for _, f := range fields {
		if f.name != "max_concurrency" && f.name != notInScaleSets {
			require.Contains(t, names, f.name)
		}
	}
	for _, f := range table {
		require.NotEmpty(t, f.doc, f.name)
		require.NotContains(t, f.value+f.doc, "max_concurrency", f.name)
		require.NotEqual(t, f.required, f.fallback != "", "%s: either required or with a default", f.name)
		for _, word := range f.likely {
			require.Equal(t, normal(word), word)
			require.Equal(t, "; did you mean "+f.name+"?", suggestOf(table, word))
		}
	}
}

// TestEachScaleSetFieldSetsSomething: the example of every field changes what it
// says, and no other field does.
func TestEachScaleSetFieldSetsSomething(t *testing.T) {
	const base = "labels: [base], cpu: 7, memory: 7g, max: 7"
	parse := func(more string) ScaleSet {
		s, err := ParseScaleSet("t.yaml", "t", []byte("{<<: {"+base+"}, "+more+"}"), Options{})
		require.NoError(t, err)
		s.Places = nil
		return *s
	}
	before := parse("")
	changed := map[string]bool{}
	for _, f := range scaleSetFields(&ScaleSet{}) {
		after := parse(f.name + ": " + f.example)
		require.NotEqual(t, before, after, f.name)
		for name := range differences(before, after) {
			changed[name] = true
		}
	}
	for _, part := range []reflect.Type{reflect.TypeFor[ScaleSet](), reflect.TypeFor[template.Template]()} {
		for _, f := range reflect.VisibleFields(part) {
			switch f.Name {
			case "Template", "Places", "Key", "Runtime":
			default:
				require.True(t, changed[f.Name], "no field sets %s", f.Name)
			}
		}
	}
}

func differences(a, b ScaleSet) map[string]bool {
	out := map[string]bool{}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[ScaleSet]()) {
		x, y := reflect.ValueOf(a).FieldByIndex(f.Index), reflect.ValueOf(b).FieldByIndex(f.Index)
		if !reflect.DeepEqual(x.Interface(), y.Interface()) {
			out[f.Name] = true
		}
	}
	return out
}

// TestDocumentedScaleSetFields: the table of docs/scale-sets.md is this package's.
func TestDocumentedScaleSetFields(t *testing.T) {
	data, err := os.ReadFile(scaleSetDocs)
	require.NoError(t, err)
	const begin, end = "<!-- fields: made by go test ./template/file -update -->\n", "<!-- end of fields -->\n"
	before, rest, ok := strings.Cut(string(data), begin)
	require.True(t, ok, "no table in %s", scaleSetDocs)
	table, after, ok := strings.Cut(rest, end)
	require.True(t, ok)
	want := tableOf(scaleSetFields(&ScaleSet{}))
	if flag.Lookup("update").Value.String() == "true" {
		require.NoError(t, os.WriteFile(scaleSetDocs, []byte(before+begin+want+end+after), 0o644))
		return
	}
	require.Equal(t, want, table, "renew it with -update")
}
