package file

import (
	"fmt"
	"strings"

	"github.com/slipway-ci/slipway/template/file/internal/document"
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

// failure is what is wrong with the file's content, or nil.
func failure(name string, doc *document.File) error {
	found, dropped := doc.Found()
	if len(found) == 0 {
		return nil
	}
	return &Error{File: name, Problems: problemsOf(found), Dropped: dropped}
}

func problemsOf(found []document.Problem) []Problem {
	if found == nil {
		return nil
	}
	out := make([]Problem, len(found))
	for i, p := range found {
		out[i] = Problem{Line: p.Line, Column: p.Column, Path: p.Path, Message: p.Message, Failed: p.Failed, Variants: p.Variants}
		for _, s := range p.Samples {
			out[i].Samples = append(out[i].Samples, Sample{Bindings: s.Bindings, Problems: problemsOf(s.Problems)})
		}
	}
	return out
}

func warningsOf(name string, doc *document.File) []Warning {
	var out []Warning
	for _, w := range doc.Warnings {
		out = append(out, Warning{File: name, Line: w.Line, Column: w.Column, Message: w.Message})
	}
	return out
}
