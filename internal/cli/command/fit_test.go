package command

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// Why: a name may have 200 characters, and a table that wraps can't be read.
func TestATableFitsItsTerminal(t *testing.T) {
	id := "0198c0de-0000-7000-8000-000000000000"
	head := []string{"ID", "NAME", "STATUS", "REASON"}
	rows := [][]string{{id, strings.Repeat("é", 200), "queued", "r\nr" + strings.Repeat("r", 40)}, {id, "short", "failed", ""}}
	for width, lines := range map[int]int{200: 200, 90: 90, 20: 36 + 2 + 16 + 2 + 6 + 2 + 16} {
		var out bytes.Buffer
		require.NoError(t, Table(&out, head, fit(width, head, rows)))
		longest := 0
		for line := range strings.Lines(out.String()) {
			longest = max(longest, utf8.RuneCountInString(strings.TrimRight(line, "\n")))
		}
		require.Equal(t, lines, longest, "a terminal of %d columns:\n%s", width, out.String())
		require.Equal(t, 2, strings.Count(out.String(), id), "what names a thing is whole")
		require.Contains(t, out.String(), "é…")
		require.Contains(t, out.String(), " short ")
	}
	require.Equal(t, "r r"+strings.Repeat("r", 40), fit(1000, head, rows)[0][3], "what fits stays whole")
	require.Equal(t, rows, Fit(&bytes.Buffer{}, head, rows), "no terminal, nothing is cut")
}

func TestPrintableControlsNoTerminal(t *testing.T) {
	require.Equal(t, "a bc[31md e évil", Printable("a\nb\x1bc[31m\u0085d\u2028e\u202e \u2066é\u200fvil\x7f"))
	var out bytes.Buffer
	require.NoError(t, WriteJSON(&out, []string{"a\u202e\u0085\x7f<é😀\n"}))
	require.Equal(t, "[\n  \"a\\u202e\\u0085\\u007f<é😀\\n\"\n]\n", out.String())
	require.Equal(t, "a: b\n    c[0m", PrintableLines("a: b\u202e\n    c\x1b[0m"))
}
