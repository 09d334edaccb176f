package command

import (
	"io"
	"os"
	"unicode/utf8"

	"golang.org/x/term"
)

// leastWidth is what a column keeps that is cut.
const leastWidth = 16

// Fit cuts the cells of a table's rows so that a line of it fits the terminal that w
// is; elsewhere they stay whole. The first column, which names things, is never cut.
func Fit(w io.Writer, head []string, rows [][]string) [][]string {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return rows
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width < 1 {
		return rows
	}
	return fit(width, head, rows)
}

func fit(width int, head []string, rows [][]string) [][]string {
	widths, total := make([]int, len(head)), 2*(len(head)-1)
	for i := range head {
		widths[i] = utf8.RuneCountInString(head[i])
		for _, row := range rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(Printable(row[i])))
		}
		total += widths[i]
	}
	for ; total > width; total-- {
		widest := 0
		for i := 1; i < len(widths); i++ {
			if widths[i] > leastWidth && (widest == 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest == 0 {
			break // no more can be cut
		}
		widths[widest]--
	}
	cut := make([][]string, len(rows))
	for r, row := range rows {
		cut[r] = make([]string, len(row))
		for i, cell := range row {
			cut[r][i] = shorten(Printable(cell), widths[i])
		}
	}
	return cut
}

// shorten cuts text to so many characters.
func shorten(text string, most int) string {
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:most-1]) + "…"
}
