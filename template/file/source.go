package file

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// source is the file's text, for places inside of scalars: the YAML parser tells
// only where a scalar begins.
type source struct{ lines [][]byte }

func newSource(data []byte) *source {
	return &source{bytes.Split(data, []byte("\n"))}
}

// firstColumn is where a line's text begins.
func (s *source) firstColumn(line int) int {
	if line < 1 || line > len(s.lines) {
		return 0
	}
	l := s.lines[line-1]
	return len(l) - len(bytes.TrimLeft(l, " ")) + 1
}

// openerLines bounds how far below its beginning an expression of a scalar is
// looked for.
const openerLines = 2000

// opener finds the nth (from 0) "${{" at or after at: no YAML style can write
// these three characters in another way but by an escape.
func (s *source) opener(at pos, nth int) (pos, bool) {
	for i := at.line - 1; i >= 0 && i < len(s.lines) && i < at.line+openerLines; i++ {
		line, from := string(s.lines[i]), 0
		if i == at.line-1 {
			from = byteOffset(line, at.column-1)
		}
		for {
			j := strings.Index(line[from:], openMark)
			if j < 0 {
				break
			}
			if nth == 0 {
				return pos{i + 1, utf8.RuneCountInString(line[:from+j]) + 1}, true
			}
			nth--
			from += j + len(openMark)
		}
	}
	return pos{}, false
}

// inside is the place of the character offset runes into expression, which
// begins after the opener at the place at: exact where the file has the same
// text on the same line, else the opener's.
func (s *source) inside(at pos, expression string, offset int) pos {
	if offset < 0 || at.line < 1 || at.line > len(s.lines) {
		return at
	}
	line := string(s.lines[at.line-1])
	rest := line[min(byteOffset(line, at.column-1)+len(openMark), len(line)):]
	prefix := expression[:byteOffset(expression, offset)]
	if !strings.HasPrefix(rest, prefix) || strings.Contains(prefix, "\n") {
		return at
	}
	return pos{at.line, at.column + utf8.RuneCountInString(openMark+prefix)}
}

// byteOffset is the index in bytes of the rune with index n.
func byteOffset(s string, n int) int {
	for i := range s {
		if n <= 0 {
			return i
		}
		n--
	}
	return len(s)
}
