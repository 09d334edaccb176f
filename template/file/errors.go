package file

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Error is all that is wrong with a file's content.
type Error struct {
	// File is the name that was given.
	File string
	// Problems in the order of the file. At least one.
	Problems []Problem
	// Dropped is how many more problems there are than are told.
	Dropped int
}

// Problem is one thing that is wrong.
type Problem struct {
	// Line and Column count from 1; columns are in characters. Zero: the
	// problem is the whole file's.
	Line, Column int
	// Path leads to it, as in matrix.linux.axes.cpu; may be empty.
	Path string
	// Message says what is wrong and what would be right.
	Message string
	// Variants counts the variants of a family, Failed those of them that could
	// not be rendered; both are 0 where the problem is not about variants.
	Failed, Variants int
	// Samples are up to five of the failed variants.
	Samples []Sample
}

// Sample is one variant that could not be rendered.
type Sample struct {
	// Bindings are the axes and their values, in declaration order: os=linux, cpu=2.
	Bindings string
	// Problems of this variant, without variants of their own.
	Problems []Problem
}

// Warning is about something that is allowed and probably not meant.
type Warning struct {
	// File is the name that was given.
	File string
	// Line and Column are as in Problem.
	Line, Column int
	// Message says what is odd.
	Message string
}

// String is file:line:column: warning: message.
func (w Warning) String() string {
	return at(w.File, w.Line, w.Column) + "warning: " + w.Message
}

// Error tells every problem on a line of its own, each beginning with
// file:line:column; samples follow their family indented.
func (e *Error) Error() string {
	var b strings.Builder
	for i, p := range e.Problems {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(at(e.File, p.Line, p.Column) + p.String())
		for _, s := range p.Samples {
			for _, sp := range s.Problems {
				fmt.Fprintf(&b, "\n    %s: %s%s", s.Bindings, at(e.File, sp.Line, sp.Column), sp.String())
			}
		}
	}
	if e.Dropped > 0 {
		fmt.Fprintf(&b, "\n%s: and %d more problems", e.File, e.Dropped)
	}
	return b.String()
}

// String is the path and the message, without the place.
func (p Problem) String() string {
	if p.Path == "" {
		return p.Message
	}
	return p.Path + ": " + p.Message
}

func at(file string, line, column int) string {
	switch {
	case line == 0:
		return file + ": "
	case column == 0:
		return fmt.Sprintf("%s:%d: ", file, line)
	}
	return fmt.Sprintf("%s:%d:%d: ", file, line, column)
}

// maxProblems is how many problems are told: nobody reads more, and a file of a
// megabyte could have a hundred thousand.
const maxProblems = 100

// problems collects what is wrong.
type problems struct {
	file     string
	found    []Problem
	seen     map[string]bool
	dropped  int
	warnings []Warning
}

func (p *problems) add(at pos, path, format string, args ...any) {
	if p.full() {
		p.dropped++
		return
	}
	p.put(Problem{Line: at.line, Column: at.column, Path: path, Message: fmt.Sprintf(format, args...)})
}

// put adds a problem once: what is merged under many templates fails in each.
func (p *problems) put(problem Problem) {
	id := fmt.Sprint(problem.Line, ":", problem.Column, " ", problem.Message)
	if p.seen == nil {
		p.seen = map[string]bool{}
	}
	if p.seen[id] {
		return
	}
	if len(p.found) == maxProblems {
		p.dropped++
		return
	}
	p.seen[id] = true
	p.found = append(p.found, problem)
}

// full says that no more problems are told: what is only for a message, such as
// a place in a long line or a likely word, need not be looked for.
func (p *problems) full() bool { return len(p.found) == maxProblems }

// hint is didYouMean, as long as somebody reads it.
func (p *problems) hint(word string, known []string) string {
	if p.full() {
		return ""
	}
	return didYouMean(word, known)
}

// count is for "has anything been added since".
func (p *problems) count() int { return len(p.found) + p.dropped }

// warn adds a warning once.
func (p *problems) warn(at pos, format string, args ...any) {
	if len(p.warnings) == maxProblems {
		return
	}
	w := Warning{File: p.file, Line: at.line, Column: at.column, Message: fmt.Sprintf(format, args...)}
	if !slices.Contains(p.warnings, w) {
		p.warnings = append(p.warnings, w)
	}
}

func (p *problems) err() error {
	if len(p.found) == 0 {
		return nil
	}
	slices.SortStableFunc(p.found, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return &Error{File: p.file, Problems: p.found, Dropped: p.dropped}
}
