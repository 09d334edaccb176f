package field

import (
	"reflect"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/template"
	"github.com/slipway-ci/slipway/template/file/internal/document"
)

// decode reads the fields of a template or a scale set, which are all good.
func decode(t *testing.T, table []Field, text string) template.Template {
	t.Helper()
	doc := document.New([]byte(text))
	root := doc.Read("nothing")
	require.NotNil(t, root)
	d := &Decoder{Doc: doc, MaxName: "max"}
	var out template.Template
	given := map[string]document.Pos{}
	for _, e := range root.Entries {
		i := slices.IndexFunc(table, func(f Field) bool { return f.Name == e.Key })
		require.GreaterOrEqual(t, i, 0, e.Key)
		d.Decode(&table[i], e.Val, &out, given)
	}
	d.Finish(&out, given, root.Pos)
	require.Empty(t, d.Problems)
	problems, _ := doc.Found()
	require.Empty(t, problems)
	return out
}

// changed names the fields in which two structs of one type differ.
func changed(a, b any) (names []string) {
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	for i := range x.NumField() {
		if !reflect.DeepEqual(x.Field(i).Interface(), y.Field(i).Interface()) {
			names = append(names, x.Type().Field(i).Name)
		}
	}
	return names
}

// TestEachFieldSetsWhatItSays: the example of a field changes exactly the fields
// of template.Template that the table names.
func TestEachFieldSetsWhatItSays(t *testing.T) {
	const base = "<<: {labels: [base], cpu: 7, memory: 7g, max_concurrency: 7}"
	before := decode(t, Template(), "{"+base+"}")
	for _, f := range Template() {
		t.Run(f.Name, func(t *testing.T) {
			after := decode(t, Template(), "{"+base+", "+f.Name+": "+f.Example+"}")
			require.ElementsMatch(t, f.Sets, changed(before, after))
		})
	}
}

// TestTheTableIsComplete: every field of template.Template but its key can be
// set by the file, by one field of it.
func TestTheTableIsComplete(t *testing.T) {
	set := []string{"Key"}
	for _, f := range Template() {
		set = append(set, f.Sets...)
	}
	var want []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[template.Template]()) {
		want = append(want, f.Name)
	}
	require.ElementsMatch(t, want, set)
}

// TestEachFieldOfAScaleSetSetsSomething: the example of every field changes
// something, and every part of a template and a placement is some field's.
func TestEachFieldOfAScaleSetSetsSomething(t *testing.T) {
	read := func(more string) (template.Template, Placement) {
		p := Placement{Places: map[string]document.Pos{}}
		out := decode(t, ScaleSet(&p), "{<<: {labels: [base], cpu: 7, memory: 7g, max: 7}, "+more+"}")
		p.Places = nil
		return out, p
	}
	template0, placement0 := read("")
	set := map[string]bool{}
	for _, f := range ScaleSet(&Placement{}) {
		template1, placement1 := read(f.Name + ": " + f.Example)
		names := append(changed(template0, template1), changed(placement0, placement1)...)
		require.NotEmpty(t, names, f.Name)
		for _, name := range names {
			set[name] = true
		}
	}
	for _, part := range []reflect.Type{reflect.TypeFor[Placement](), reflect.TypeFor[template.Template]()} {
		for _, f := range reflect.VisibleFields(part) {
			// The runtime is the fleet's choice; places and the key are no fields.
			if !slices.Contains([]string{"Places", "Key", "Runtime"}, f.Name) {
				require.True(t, set[f.Name], "no field sets %s", f.Name)
			}
		}
	}
}

func TestFieldsHaveWhatPeopleNeed(t *testing.T) {
	for name, table := range map[string][]Field{"template": Template(), "scale set": ScaleSet(&Placement{})} {
		t.Run(name, func(t *testing.T) {
			var names []string
			for _, f := range table {
				require.NotEmpty(t, f.Value, f.Name)
				require.NotEmpty(t, f.Doc, f.Name)
				require.NotEqual(t, f.Required, f.Fallback != "", "%s: either required or with a default", f.Name)
				require.NotNil(t, f.Schema, f.Name)
				for _, word := range f.Likely {
					require.Regexp(t, `^[a-z0-9]+$`, word, "%s: likely words are compared in their normal form", f.Name)
					require.Equal(t, "; did you mean "+f.Name+"?", Suggest(table, word))
				}
				names = append(names, f.Name)
			}
			slices.Sort(names)
			require.Equal(t, slices.Compact(slices.Clone(names)), names, "a field twice")
		})
	}
}

// TestAScaleSetsFieldsAreATemplates: it has all of them, of which one goes by another
// name and one is another.
func TestAScaleSetsFieldsAreATemplates(t *testing.T) {
	table := ScaleSet(&Placement{})
	for _, f := range Template() {
		i := slices.IndexFunc(table, func(g Field) bool { return g.Name == f.Name })
		require.Equal(t, f.Name != "max_concurrency", i >= 0, f.Name)
	}
	for _, f := range table {
		require.NotContains(t, f.Value+f.Doc, "max_concurrency", f.Name)
	}
}
