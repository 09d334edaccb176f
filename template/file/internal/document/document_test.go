package document

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func read(t *testing.T, text string) (*File, *Node) {
	t.Helper()
	doc := New([]byte(text))
	root := doc.Read("nothing is here")
	return doc, root
}

func TestReadTellsWhatIsWrong(t *testing.T) {
	laughs := "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := range 6 {
		n := string(rune('0' + i))
		m := string(rune('1' + i))
		laughs += "a" + m + ": &a" + m + " [" + strings.Repeat("*a"+n+", ", 10) + "]\n"
	}
	for name, c := range map[string]struct{ text, want string }{
		"nothing":            {"", "0:0 nothing is here"},
		"two documents":      {"a: 1\n---\nb: 2\n", "2:1 a second document: the file must have one"},
		"a key twice":        {"a: 1\nb:\n  c: 1\n  c: 2\n", `4:3 key "c" is written twice; first at line 3`},
		"a list as a key":    {"[a]: 1", "1:1 a key must be text, this one is a list"},
		"a tag":              {"a: !x y", "1:4 tag !x is not supported"},
		"an alias in it":     {"a: &a [*a]", "1:8 alias *a contains itself"},
		"a billion laughs":   {laughs, "1:16 aliases expand to more than 100000 values"},
		"deep":               {strings.Repeat("[", 101) + strings.Repeat("]", 101), "1:101 nested more than 100 deep"},
		"no number":          {"a: .inf", `1:4 ".inf" is not a finite number`},
		"no YAML":            {"a: b\n  c: d", "2:3 not YAML: mapping values are not allowed in this context"},
		"an open expression": {"a: b\nc: ${{ x ? 'a': 'b' }}", "2:1 not YAML: mapping values are not allowed in this context: put the text with the expression in quotes"},
		"a merge of text":    {"<<: x", "1:5 a merge key (<<) takes a map or a list of maps, this is text"},
	} {
		t.Run(name, func(t *testing.T) {
			doc, _ := read(t, c.text)
			found, _ := doc.Found()
			require.NotEmpty(t, found)
			require.Equal(t, c.want, strings.TrimSpace(where(found[0].Pos)+" "+found[0].Message))
		})
	}
}

func where(at Pos) string { return NumberText(float64(at.Line)) + ":" + NumberText(float64(at.Column)) }

// TestPlaceOfAnExpression: the parser tells only where a scalar begins; a place in an
// expression is found in the text, in characters, or else it is the opener's.
func TestPlaceOfAnExpression(t *testing.T) {
	for name, c := range map[string]struct {
		text    string
		segment int
		offset  int
		want    string
	}{
		"plain":                {"a: ${{ b.c }}", 0, 3, "1:10"},
		"quoted":               {`a: "x ${{ b }} ${{ c }}"`, 3, 1, "1:20"},
		"after wide letters":   {`a: "äöü ${{ b }}"`, 1, 1, "1:13"},
		"in a block":           {"a: |\n  first\n  é ${{ b }}\n", 1, 1, "3:9"},
		"behind an escaped":    {"a: $${{ x }} ${{ b }}", 1, 1, "1:18"},
		"over two lines":       {"a: >\n  ${{ b +\n  c }}\n", 0, 5, "2:3"},
		"unknown":              {"a: ${{ b }}", 0, -1, "1:4"},
		"written by an escape": {`a: "\u0024{{ b }}"`, 0, 1, "1:4"},
	} {
		t.Run(name, func(t *testing.T) {
			doc, root := read(t, c.text)
			doc.Prepare(root, "")
			n := root.Get("a")
			require.True(t, n.Dynamic)
			require.True(t, root.Dynamic)
			require.Greater(t, len(n.Segments), c.segment)
			require.True(t, n.Segments[c.segment].IsExpr)
			require.Equal(t, c.want, where(doc.Place(n, n.Segments[c.segment], c.offset)))
		})
	}
}

func TestSplit(t *testing.T) {
	for text, want := range map[string][]string{
		"plain":                           nil,
		"${{ a }}":                        {"= a "},
		"x${{a}}y${{b}}":                  {"x", "=a", "y", "=b"},
		"$${{ a }}":                       {"${{ a }}"},
		`${{ "}}" + '}}' }}`:              {`= "}}" + '}}' `},
		`${{ r"\" }}`:                     {`= r"\" `},
		`${{ '\'}}' }}`:                   {`= '\'}}' `},
		`${{ """a"}}""" }}`:               {`= """a"}}""" `},
		"${{ {'a': {'b': 1}}.a }}":        {"= {'a': {'b': 1}}.a "},
		"${{ a // }} not yet\n }} and on": {"= a // }} not yet\n ", " and on"},
	} {
		segments, err := split(text)
		require.NoError(t, err)
		var got []string
		for _, s := range segments {
			if s.IsExpr {
				got = append(got, "="+s.Expression)
			} else {
				got = append(got, s.Literal)
			}
		}
		require.Equal(t, want, got, text)
	}
	for text, want := range map[string]string{
		"${{ a":                                "is not closed by }}",
		"${{ 'a }}":                            "is not closed by }}",
		"a ${{  }}":                            "an empty expression",
		strings.Repeat("${{a}}", maxOpeners+1): "more than 100 expressions",
	} {
		_, err := split(text)
		require.ErrorContains(t, err, want)
	}
}

// TestMerge: maps merge in the order of what is under, everything else is replaced.
func TestMerge(t *testing.T) {
	doc, root := read(t, "under: {a: 1, m: {x: 1, y: [1]}, l: [1]}\nover: {m: {y: [2], z: '${{ 1 }}'}, l: [3], b: 2}")
	doc.Prepare(root, "")
	out := Merge(root.Get("under"), root.Get("over"))
	var keys []string
	for _, e := range out.Entries {
		keys = append(keys, e.Key)
	}
	require.Equal(t, []string{"a", "m", "l", "b"}, keys)
	m := out.Get("m")
	require.Equal(t, 1.0, m.Get("x").Number)
	require.Equal(t, 2.0, m.Get("y").Items[0].Number)
	require.Len(t, out.Get("l").Items, 1)
	require.Equal(t, 3.0, out.Get("l").Items[0].Number)
	require.True(t, out.Dynamic, "an expression of either is one of both")
	require.False(t, root.Get("under").Dynamic, "what is merged stays as it was")
	require.Same(t, root.Get("over"), Merge(nil, root.Get("over")))
}

func TestProblemsAreToldOnceAndBounded(t *testing.T) {
	var p Problems
	p.Add(Pos{2, 1}, "b", "wrong")
	p.Add(Pos{1, 1}, "a", "wrong")
	p.Put(Problem{Pos: Pos{2, 1}, Path: "of another template", Message: "wrong"})
	require.Equal(t, 2, p.Count())
	found, dropped := p.Found()
	require.Equal(t, []Problem{{Pos: Pos{1, 1}, Path: "a", Message: "wrong"}, {Pos: Pos{2, 1}, Path: "b", Message: "wrong"}}, found)
	require.Zero(t, dropped)
	require.Equal(t, "; did you mean image?", p.Hint("imgae", []string{"image"}))
	for i := range 2 * MaxProblems {
		p.Add(Pos{i + 3, 1}, "", "wrong")
		p.Warn(Pos{i, 1}, "odd")
		p.Warn(Pos{i, 1}, "odd")
	}
	found, dropped = p.Found()
	require.Len(t, found, MaxProblems)
	require.Equal(t, MaxProblems+2, dropped)
	require.Len(t, p.Warnings, MaxProblems)
	require.Empty(t, p.Hint("imgae", []string{"image"}), "nobody reads it")
}

func TestNearest(t *testing.T) {
	known := []string{"image", "max_concurrency", "cpu", "env"}
	for word, want := range map[string]string{
		"imgae": "image", "Image": "image", "max-concurency": "max_concurrency", "cup": "cpu", "evn": "env",
		"colour": "", "": "", strings.Repeat("image", 20): "",
	} {
		require.Equal(t, want, Nearest(word, known), word)
	}
}

func TestParseNumber(t *testing.T) {
	for text, want := range map[string]float64{"010": 10, "0o10": 8, "0x1F": 31, "0b11": 3, "-1_000": -1000, "+2.5": 2.5, "1e3": 1000} {
		got, ok := ParseNumber(text)
		require.True(t, ok, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "x", "1e999", "nan", "0x"} {
		_, ok := ParseNumber(text)
		require.False(t, ok, text)
	}
}

// FuzzRead: whatever the text is, reading it ends, and every node and every problem
// has a place in the text, or none at all.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{"a: 1", "a: &a [1, ${{ b }}]\nb: *a", "<<: {a: 1}\nb: >\n  ${{ x +\n  y }}", "- \"\\u0024{{ }}\"", "? [a]\n: b", "\ufeffa: \u2028b"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		doc := New(data)
		root := doc.Read("nothing")
		lines := 1 + len(data) // every character may end a line
		var walk func(*Node)
		walk = func(n *Node) {
			if n.Line < 0 || n.Line > lines || n.Column < 0 {
				t.Fatalf("a node at %+v", n.Pos)
			}
			for i, s := range n.Segments {
				if at := doc.Place(n, s, i); at.Line < 1 || at.Line > lines || at.Column < 1 {
					t.Fatalf("an expression at %+v", at)
				}
			}
			for _, item := range n.Items {
				walk(item)
			}
			for _, e := range n.Entries {
				walk(e.Val)
			}
		}
		if root != nil {
			doc.Prepare(root, "")
			walk(root)
		}
		found, _ := doc.Found()
		if root == nil && len(found) == 0 {
			t.Fatal("nothing was read, and nothing is wrong")
		}
		for _, p := range found {
			if p.Line < 0 || p.Line > lines || p.Column < 0 || p.Message == "" {
				t.Fatalf("a problem outside: %+v", p)
			}
		}
	})
}
