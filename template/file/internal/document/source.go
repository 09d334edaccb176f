package document

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// source is the file's text, for places inside of scalars: the YAML parser tells
// only where a scalar begins.
type source struct {
	bytes []byte
	lines []string
	runes map[int][]int // by line, where in bytes each character begins
}

func newSource(data []byte) *source {
	return &source{bytes: data, lines: strings.Split(string(data), "\n"), runes: map[int][]int{}}
}

// Line is the text of a line, counted from 1; empty where there is none.
func (s *source) line(n int) string {
	if n < 1 || n > len(s.lines) {
		return ""
	}
	return s.lines[n-1]
}

// firstColumn is where a line's text begins.
func (s *source) firstColumn(line int) int {
	text := s.line(line)
	return len(text) - len(strings.TrimLeft(text, " ")) + 1
}

// mentions says whether a line, or the one before it, holds text.
func (s *source) mentions(line int, text string) bool {
	return strings.Contains(s.line(line), text) || strings.Contains(s.line(line-1), text)
}

// starts are the indexes in bytes of a line's characters, and of its end. A file
// of one long line with many errors makes it worth keeping them.
func (s *source) starts(line int) []int {
	starts, ok := s.runes[line]
	if !ok {
		for i := range s.line(line) {
			starts = append(starts, i)
		}
		starts = append(starts, len(s.line(line)))
		s.runes[line] = starts
	}
	return starts
}

// offset is the index in bytes of a place in its line.
func (s *source) offset(at Pos) int {
	starts := s.starts(at.Line)
	return starts[min(max(at.Column-1, 0), len(starts)-1)]
}

// Column is the column of an index in bytes of a line.
func (s *source) column(line, offset int) int {
	i, _ := slices.BinarySearch(s.starts(line), offset)
	return i + 1
}

// openerLines bounds how far below its beginning an expression of a scalar is
// looked for.
const openerLines = 2000

// opener finds the nth (from 0) "${{" at or after at: no YAML style can write
// these three characters in another way but by an escape.
func (s *source) opener(at Pos, nth int) (Pos, bool) {
	for n := at.Line; n >= 1 && n <= len(s.lines) && n < at.Line+openerLines; n++ {
		line, from := s.line(n), 0
		if n == at.Line {
			from = s.offset(at)
		}
		for {
			i := strings.Index(line[from:], OpenMark)
			if i < 0 {
				break
			}
			if nth == 0 {
				return Pos{n, s.column(n, from+i)}, true
			}
			nth--
			from += i + len(OpenMark)
		}
	}
	return Pos{}, false
}

// inside is the place of the character offset runes into expression, which
// begins after the opener at the place at: exact where the file has the same
// text on the same line, else the opener's.
func (s *source) inside(at Pos, expression string, offset int) Pos {
	if offset < 0 || s.line(at.Line) == "" {
		return at
	}
	line := s.line(at.Line)
	rest := line[min(s.offset(at)+len(OpenMark), len(line)):]
	prefix := expression[:byteOffset(expression, offset)]
	if !strings.HasPrefix(rest, prefix) || strings.Contains(prefix, "\n") {
		return at
	}
	return Pos{at.Line, at.Column + utf8.RuneCountInString(OpenMark+prefix)}
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
