package expr

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-ci/slipway/template/file/internal/document"
)

// sheet is a document with vars, and a text over them.
func sheet(t testing.TB, vars, text string) (*document.File, *Scope, *document.Node) {
	t.Helper()
	source := "vars: " + vars + "\ntext: " + text + "\n"
	doc := document.New([]byte(source))
	root := doc.Read("nothing")
	require.NotNil(t, root, source)
	n := root.Get("text")
	doc.Prepare(n, "text")
	s, err := New(doc, root.Get("vars"))
	require.NoError(t, err)
	return doc, s, n
}

// evaluate is the text's value, written out, or what is wrong with it.
func evaluate(t testing.TB, vars, text string) string {
	t.Helper()
	doc, s, n := sheet(t, vars, text)
	if s.Compile(n, "text"); doc.Count() > 0 {
		found, _ := doc.Found()
		return found[0].Message
	}
	out, problems := s.Static(n, s.Vars(), "text")
	if len(problems) > 0 {
		return fmt.Sprintf("%d:%d %s", problems[0].Line, problems[0].Column, problems[0].Message)
	}
	return written(out)
}

func written(n *document.Node) string {
	var parts []string
	switch n.Kind {
	case document.List:
		for _, item := range n.Items {
			parts = append(parts, written(item))
		}
		return "[" + strings.Join(parts, " ") + "]"
	case document.Map:
		for _, e := range n.Entries {
			parts = append(parts, e.Key+":"+written(e.Val))
		}
		return "{" + strings.Join(parts, " ") + "}"
	case document.Text:
		return "'" + n.Text + "'"
	case document.Null:
		return "null"
	}
	return n.Scalar()
}

const vars = "{n: 2, flag: true, none: null, list: [b, a, 3], map: {z: 1, a: {b: c}, 10: ten}}"

func TestEvaluate(t *testing.T) {
	for text, want := range map[string]string{
		"plain": "'plain'",
		// One expression alone keeps its type; in a text all is text.
		"${{ vars.n * 2.0 }}":                        "4",
		"x ${{ vars.n * 2.0 }}":                      "'x 4'",
		"${{ vars.flag }}":                           "true",
		"${{ vars.none }}":                           "null",
		"a${{ vars.none }}b":                         "'ab'",
		"${{ vars.list }}":                           "['b' 'a' 3]",
		"l=${{ vars.list }}":                         `'l=["b","a",3]'`,
		"m=${{ vars.map }}":                          `'m={"z":1,"a":{"b":"c"},"10":"ten"}'`,
		"[1, \"${{ 1 + 1 }}\", {a: \"${{ 'b' }}\"}]": "[1 2 {a:'b'}]",
		"${{ duration('90s') }}":                     "'90s'",
		// Maps keep the order in which they are written, and numbers find keys of text.
		"${{ vars.map.map(k, k) }}":                      "['z' 'a' '10']",
		`"${{ {'b': 1, 'a': [2u, true]} }}"`:             "{b:1 a:[2 true]}",
		"${{ vars.map[10] }}":                            "'ten'",
		`"${{ {1: 'x'} == {1u: 'x'} }}"`:                 "true",
		"${{ range(1, 7, 3) }}":                          "[1 4 7]",
		"${{ range(2, 1, 1) }}":                          "[]",
		"${{ toJson([1.5, vars.none]) }}":                "'[1.5,null]'",
		`"${{ fromJson('{\"b\": 1, \"a\": [null]}') }}"`: "{b:1 a:[null]}",
		// What is missing is nothing in a text, and an error alone.
		"x${{ vars.map.zz }}":       "'x'",
		"${{ vars.map.zz }}":        `2:19 ${{ vars.map.zz }}: no key "zz"; did you mean z?`,
		"${{ vats.n }}":             `unknown name "vats"; did you mean vars?; known here: vars`,
		"${{ vars.n + 1 }}":         "2:18 ${{ vars.n + 1 }}: no such overload (numbers of the file are doubles: write 2.0, not 2, beside them)",
		`"${{ {'a': 1, 'a': 2} }}"`: `2:8 ${{ {'a': 1, 'a': 2} }}: key "a" is written twice in a map`,
	} {
		t.Run(text, func(t *testing.T) { require.Equal(t, want, evaluate(t, vars, text)) })
	}
}

// TestNoSingleOperationIsUnbounded: what CEL's own cost limit looks at too late.
func TestNoSingleOperationIsUnbounded(t *testing.T) {
	long := strings.Repeat("a", 40<<10)
	big := "[" + strings.Repeat("0,", 10_500) + "0]"
	for name, c := range map[string]struct{ vars, text, want string }{
		"a long text":        {"{a: " + long + "}", "${{ vars.a + vars.a }}", "a text of more than 64 KiB"},
		"a joined text":      {"{a: " + long + "}", "${{ vars.a }}${{ vars.a }}", "the result is a text of more than 64 KiB"},
		"a long list":        {"{a: " + big + "}", "${{ vars.a + [1] }}", "a list of more than 10000 values"},
		"a range":            {"{}", "${{ range(0, 1000, 1) }}", "range gives more than 1000 values"},
		"ranges together":    {"{}", "${{ range(1, 600, 1) + range(1, 600, 1) }}", "range gives more than 1000 values"},
		"a comparison":       {"{a: {b: &b " + big + ", c: *b}}", "${{ vars.a == vars.a }}", "a value of more than 20000 parts"},
		"a large value":      {"{a: " + big + "}", "${{ [vars.a, vars.a] }}", "the result is a value of more than 20000 parts"},
		"deep JSON":          {"{}", "${{ fromJson('" + strings.Repeat("[", 102) + strings.Repeat("]", 102) + "') }}", "nested more than 100 deep"},
		"an expensive match": {"{a: " + long + "}", "${{ vars.a.matches('" + strings.Repeat("(a|b)*", 100) + "') }}", "text and pattern are too long"},
		"a loop":             {"{}", "${{ range(1, 999, 1).all(a, [1, 2, 3, 4, 5, 6, 7, 8, 9].all(b, [1, 2, 3, 4, 5, 6].all(c, true))) }}", "costs too much to evaluate"},
		"a long expression":  {"{}", "${{ '" + strings.Repeat("a", maxExpression) + "' }}", "exceeds limit"},
	} {
		t.Run(name, func(t *testing.T) { require.Contains(t, evaluate(t, c.vars, c.text), c.want) })
	}
}

// TestAFileHasABudget: evaluations that are each within their bound are refused when
// together they cost too much.
func TestAFileHasABudget(t *testing.T) {
	_, s, n := sheet(t, "{}", "${{ range(1, 1000, 1).all(a, true) }}")
	require.True(t, s.Compile(n, "text"))
	other, err := s.Extend([]string{"os"})
	require.NoError(t, err)
	before := s.Left()
	_, bad := s.Value(n, s.Vars())
	require.Nil(t, bad)
	cost := before - s.Left()
	require.Positive(t, cost)
	require.Equal(t, s.Left(), other.Left(), "the budget is the file's")
	s.Spend(4 * (s.Left() - cost/2))
	_, bad = other.Value(n, s.Vars())
	require.Nil(t, bad, "the one that goes over it is still whole")
	require.Negative(t, other.Left())
	_, bad = other.Value(n, s.Vars())
	require.NotNil(t, bad)
	require.Contains(t, bad.Message, "the expressions of this file cost too much to evaluate")
}

// TestAnExpressionIsCompiledOnce: and what is wrong with it is told where it stands.
func TestAnExpressionIsCompiledOnce(t *testing.T) {
	doc, s, n := sheet(t, "{}", `["${{ 1 + 1 }}", "${{ 1 + 1 }}", "x ${{ 1 + }}"]`)
	require.False(t, s.Compile(n, "text"))
	require.Equal(t, 2, s.ev.expressions)
	found, _ := doc.Found()
	require.Len(t, found, 1)
	require.Equal(t, document.Pos{Line: 2, Column: 51}, found[0].Pos)
}

// FuzzScope: whatever an expression is, compiling and evaluating it ends soon, alone
// and with text around it, and gives a value or a problem with a place.
func FuzzScope(f *testing.F) {
	for _, seed := range []string{
		"vars.n * 2.0", "vars.list[1]", "vars.list.map(x, x + x)", "toJson(vars)", "fromJson('{\"a\": [1, null]}').a",
		"'a'.matches('(a*)*')", "{'a': {1: [true, 2u, b'x']}}", "[1, 2].map(a, [a, a]).map(a, [a, a]) == [vars, vars]",
		"string(duration('1h') + duration('5s'))", "vars.n > 1 && vars.n < 3 || !vars.flag", "[vars.n, -1, 0x10, 1e300, 1.0/0.0]",
		"google.protobuf.Struct{fields: {'a': google.protobuf.Value{number_value: 1.0}}}", "type(vars)", "vars // comment",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, expression string) {
		doc := document.New([]byte("vars: " + vars))
		root := doc.Read("nothing")
		s, err := New(doc, root.Get("vars"))
		require.NoError(t, err)
		for _, text := range []string{"${{" + expression + "}}", "a ${{" + expression + "}} b"} {
			n := &document.Node{Pos: document.Pos{Line: 1, Column: 1}, Kind: document.Text, Text: text}
			doc.Prepare(n, "text")
			start := time.Now()
			if n.Dynamic && s.Compile(n, "text") {
				out, problems := s.Static(n, s.Vars(), "text")
				if len(problems) == 0 && (out == nil || out.Dynamic) || len(problems) > 0 && (problems[0].Line != 1 || problems[0].Message == "") {
					t.Fatalf("%+v %+v", out, problems)
				}
			}
			if took := time.Since(start); took > time.Minute {
				t.Fatalf("took %s", took)
			}
		}
	})
}
