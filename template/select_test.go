package template_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/slipway-ci/slipway/template"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func keys(templates []template.Template) []string {
	out := []string{}
	for _, t := range templates {
		out = append(out, t.Key)
	}
	return out
}

func TestSelect(t *testing.T) {
	templates := []template.Template{
		{Key: "gpu", Labels: []string{"gpu", "linux"}, CPU: 4, Cost: 0.5},
		{Key: "large", Labels: []string{"large", "linux"}, CPU: 8},
		{Key: "z-small", Labels: []string{"linux"}, CPU: 2},
		{Key: "a-small", Labels: []string{"linux"}, CPU: 2},
		{Key: "A-small", Labels: []string{"linux"}, CPU: 2},
		{Key: "special", Labels: []string{"extra", "linux"}, CPU: 2},
		{Key: "mac", Labels: []string{"mac"}, CPU: 1},
	}
	for _, c := range []struct {
		name string
		want []string
		keys []string
	}{
		{"cost, then fewest labels, then the key in byte order", []string{"linux"}, []string{"gpu", "A-small", "a-small", "z-small", "special", "large"}},
		{"every label must be there", []string{"gpu", "linux"}, []string{"gpu"}},
		{"nobody has it", []string{"linux", "windows"}, []string{}},
		{"one label", []string{"mac"}, []string{"mac"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.keys, keys(template.Select(templates, c.want)))
		})
	}
}

func TestEffectiveCost(t *testing.T) {
	require.Equal(t, 2.5, template.Template{CPU: 2.5}.EffectiveCost())
	require.Equal(t, 0.1, template.Template{CPU: 2.5, Cost: 0.1}.EffectiveCost())
}

// TestSelectProperties: what is selected is all that covers, in the one order
// that the rule gives, whatever the order of the input, which is left alone.
func TestSelectProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		templates := some(t)
		want := set(t, "want")
		before := slices.Clone(templates)
		got := template.Select(templates, want)
		if !slices.EqualFunc(before, templates, func(a, b template.Template) bool { return a.Key == b.Key }) {
			t.Fatal("the input was changed")
		}
		fits := 0
		for _, tmpl := range templates {
			if template.Covers(tmpl.Labels, want) {
				fits++
			}
		}
		if len(got) != fits {
			t.Fatalf("%d of %d that fit", len(got), fits)
		}
		for i, tmpl := range got {
			if !template.Covers(tmpl.Labels, want) {
				t.Fatalf("%s does not fit", tmpl.Key)
			}
			if i > 0 && !comesFirst(got[i-1], tmpl) {
				t.Fatalf("%s is before %s", got[i-1].Key, tmpl.Key)
			}
		}
		shuffled := template.Select(rapid.Permutation(templates).Draw(t, "order"), want)
		if !slices.Equal(keys(shuffled), keys(got)) {
			t.Fatalf("another order gives %v, not %v", keys(shuffled), keys(got))
		}
	})
}

// some are templates of which several may fit a job, and tie in cost and labels.
func some(t *rapid.T) []template.Template {
	templates := make([]template.Template, rapid.IntRange(0, 12).Draw(t, "n"))
	for i := range templates {
		templates[i] = template.Template{
			Key:    fmt.Sprintf("%c%d", rapid.RuneFrom([]rune("aZ-é")).Draw(t, "key"), i),
			Labels: set(t, "labels"),
			CPU:    float64(rapid.IntRange(1, 3).Draw(t, "cpu")),
			Cost:   float64(rapid.IntRange(0, 3).Draw(t, "cost")),
		}
	}
	return templates
}

// TestIndexIsSelect: the index finds what Select does, in the same order.
func TestIndexIsSelect(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		templates := some(t)
		want := set(t, "want")
		x := template.NewIndex(templates)
		var got []template.Template
		for tmpl := range x.Fits(want) {
			got = append(got, *tmpl)
		}
		if selected := template.Select(templates, want); !slices.Equal(keys(got), keys(selected)) {
			t.Fatalf("for %q the index gives %v, Select %v", want, keys(got), keys(selected))
		}
		for first := range x.Fits(want) {
			if first.Key != got[0].Key {
				t.Fatalf("%s first, not %s", first.Key, got[0].Key)
			}
			break
		}
		if len(x.All()) != len(templates) || x.Get("nobody") != nil {
			t.Fatal("the index lost a template or made one up")
		}
		for _, tmpl := range templates {
			if found := x.Get(tmpl.Key); found == nil || found.Key != tmpl.Key {
				t.Fatalf("%s is not found by its key", tmpl.Key)
			}
		}
	})
}

// comesFirst is the rule, written once more in other words.
func comesFirst(a, b template.Template) bool {
	costA, costB := a.Cost, b.Cost
	if costA == 0 {
		costA = a.CPU
	}
	if costB == 0 {
		costB = b.CPU
	}
	if costA != costB {
		return costA < costB
	}
	if len(a.Labels) != len(b.Labels) {
		return len(a.Labels) < len(b.Labels)
	}
	return a.Key < b.Key
}
