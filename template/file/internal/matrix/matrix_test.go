package matrix

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/template/file/internal/document"
	"github.com/slipway-ci/slipway/template/file/internal/expr"
)

// families reads the families of a text over vars n: 2.
func families(t *testing.T, text string) (*document.File, *expr.Scope, []*Family) {
	t.Helper()
	doc := document.New([]byte("vars: {n: 2}\nmatrix:\n" + text))
	root := doc.Read("nothing")
	require.NotNil(t, root, text)
	base, err := expr.New(doc, root.Get("vars"))
	require.NoError(t, err)
	var out []*Family
	for _, e := range root.Get("matrix").Entries {
		out = append(out, Read(doc, base, 1000, e))
	}
	return doc, base, out
}

// keys expands good families and tells each variant with its key.
func keys(t *testing.T, text string) (lines []string) {
	t.Helper()
	doc, base, all := families(t, text)
	for _, f := range all {
		require.False(t, f.Broken, told(doc))
		s, good := f.Open(base)
		require.True(t, good, told(doc))
		for _, v := range f.Variants(s) {
			_, key, bad := v.Bind(s)
			if bad != nil {
				key = bad.Path + ": " + bad.Message
			}
			lines = append(lines, fmt.Sprintf("%s | %s", v, key))
		}
	}
	return lines
}

// told are all problems and warnings, a line each.
func told(doc *document.File) string {
	var b strings.Builder
	found, _ := doc.Found()
	for _, p := range found {
		fmt.Fprintf(&b, "%d:%d %s: %s\n", p.Line, p.Column, p.Path, p.Message)
	}
	for _, w := range doc.Warnings {
		fmt.Fprintf(&b, "%d:%d warning: %s\n", w.Line, w.Column, w.Message)
	}
	return b.String()
}

// TestTheFirstAxisIsTheMostSignificant: the product in declaration order, without what
// is excluded, then the include list, excluded or not.
func TestTheFirstAxisIsTheMostSignificant(t *testing.T) {
	require.Equal(t, []string{
		"os=b, cpu=1 | f-b-1",
		"os=a, cpu=1 | f-a-1", "os=a, cpu=2 | f-a-2",
		"os=b, cpu=2 | f-b-2", "os=c, cpu=9 | f-c-9",
	}, keys(t, `
  f:
    axes: {os: [b, a], cpu: [1, "${{ vars.n }}"]}
    exclude: [{os: b, cpu: "${{ vars.n }}"}]
    include: [{os: b, cpu: 2}, {cpu: 9, os: c}]
    template: {}
`))
}

func TestKeys(t *testing.T) {
	for text, want := range map[string]string{
		"f: {axes: {a: [x-y, 'p%']}, template: {}}":                                                          "a=x-y | f-x%2Dy; a=p% | f-p%25",
		"f-g: {axes: {a: [{name: n, z: 1}]}, template: {}}":                                                  `a={"name":"n","z":1} | f%2Dg-n`,
		"f: {axes: {a: [{z: 1}]}, template: {}}":                                                             `a={"z":1} | key: axis a: a map without a name can't be part of a key: give the family a key`,
		"f: {axes: {a: [[1]]}, template: {}}":                                                                "a=[1] | key: axis a: a list can't be part of a key: give the family a key",
		"f: {axes: {a: [1]}, let: {b: '${{ a + 1.0 }}', c: '${{ b + a }}'}, key: 'k${{ c }}', template: {}}": "a=1 | k3",
		"f: {axes: {a: [1]}, let: {b: '${{ c }}', c: '${{ a }}'}, template: {}}":                             "a=1 | let.b: ${{ c }}: \"c\" is not known yet: let sees vars, the axes and what is declared before it",
		"f: {axes: {a: [1]}, key: '${{ [a] }}', template: {}}":                                               "a=1 | key: must give text, this is [1]",
		"f: {axes: {a: [1]}, key: '${{ \" \" }}', template: {}}":                                             `a=1 | key: a blank key: " "`,
	} {
		require.Equal(t, want, strings.Join(keys(t, "  "+text+"\n"), "; "), text)
	}
	for key, want := range map[string]string{
		"a b": "", "": "an empty key", " ": "a blank key", "a\tb": "a key with control characters",
		strings.Repeat("a", 255): "", strings.Repeat("a", 256): "a key of more than 255 bytes",
	} {
		require.Equal(t, want, CheckKey(key), "%.20q", key)
	}
}

func TestReadTellsWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		"f: []":                            "3:6 matrix.f: must be a map with axes and template, this is an empty list",
		"f: {template: {}}":                "3:3 matrix.f.axes: no axes: a family needs one or more",
		"f: {axes: {a: [1]}}":              "3:3 matrix.f: no template: a family needs one, if only {}",
		"f: {axes: {a: []}, template: {}}": "3:17 matrix.f.axes.a: an axis without values",
		"f: {axes: {a: '${{ vars.n }}'}, template: {}}":                "3:17 matrix.f.axes.a: must be a list, the expression gives 2",
		"f: {axes: {vars: [1]}, template: {}}":                         "3:14 matrix.f.axes.vars: vars is the name of the file's variables: call the axis something else",
		"f: {axes: {a: [1]}, lets: {}, template: {}}":                  `3:23 matrix.f: unknown key "lets" in a matrix family; did you mean let?`,
		"f: {axes: {a: [1]}, let: {a: '${{ 1 }}'}, template: {}}":      "3:29 matrix.f.let.a: the name is taken: call it something else",
		"f: {axes: {a: [1]}, let: {b: x}, template: {}}":               "3:32 matrix.f.let.b: must be an expression: write ${{ x }}",
		"f: {axes: {a: [1], b: [2]}, include: [{a: 1}], template: {}}": "3:41 matrix.f.include: must name every axis, b is missing",
		"f: {axes: {a: [1]}, exclude: [{b: 1}], template: {}}":         `3:34 matrix.f.exclude: unknown key "b" in a binding of this family`,
	} {
		doc, _, all := families(t, "  "+text+"\n")
		require.Contains(t, told(doc), want, text)
		require.True(t, all[0].Broken, text)
	}
}

func TestSizeIsThatBeforeExclusion(t *testing.T) {
	_, _, all := families(t, `
  f: {axes: {a: [1, 2], b: "${{ range(1, 5, 1) }}"}, exclude: [{a: 1}], include: [{a: 3, b: 1}], template: {}}
  huge: {axes: {a: "${{ range(1, 1000, 1) }}"}, template: {}}
`)
	require.Equal(t, 11, all[0].Size())
	huge := &Family{axes: make([]axis, maxAxes)}
	for i := range huge.axes {
		huge.axes[i].values = all[1].axes[0].values
	}
	require.Greater(t, huge.Size(), 1_000_000, "and not what is left of an overflow")
}

// TestUnusedExclusionsAreTold: an exclusion that matches nothing is probably not meant.
func TestUnusedExclusionsAreTold(t *testing.T) {
	doc, base, all := families(t, "  f: {axes: {a: [1, 2]}, exclude: [{a: 1}, {a: 3}], template: {}}\n")
	s, good := all[0].Open(base)
	require.True(t, good)
	require.Len(t, all[0].Variants(s), 1)
	require.Equal(t, "3:44 warning: matrix.f: this exclusion matches no variant\n", told(doc))
}

// TestExclusionsHaveABudget: comparing is paid for, by the size of what is compared.
func TestExclusionsHaveABudget(t *testing.T) {
	list := "[" + strings.Repeat("0, ", 39) + "0]"
	doc, base, all := families(t, "  f: {axes: {a: ["+list+", 2]}, exclude: [{a: "+list+"}], template: {}}\n")
	s, _ := all[0].Open(base)
	s.Spend(4 * (s.Left() - 20))
	require.Len(t, all[0].Variants(s), 1)
	require.Equal(t, 0, s.Left(), "two comparisons with a value of 41 parts")
	require.Empty(t, all[0].Variants(s))
	require.Contains(t, told(doc), "comparing the variants with exclude costs too much")
}

func TestClash(t *testing.T) {
	doc, base, all := families(t, "  f: {axes: {a: [1, 2], b: [3]}, key: \"${{ 'k' }}\", template: {}}\n  g: {axes: {c: [1]}, key: \"${{ 'k' }}\", template: {}}\n")
	var variants []Variant
	for _, f := range all {
		s, _ := f.Open(base)
		variants = append(variants, f.Variants(s)...)
	}
	Clash("k", variants)
	Clash("k", variants[1:])
	require.Equal(t, `3:39 : two generated templates with the key "k": matrix.f (a=1, b=3) and matrix.f (a=2, b=3); they differ in a; 1 more have it too
4:28 : two generated templates with the key "k": matrix.f (a=2, b=3) and matrix.g (c=1)
`, told(doc))
}
