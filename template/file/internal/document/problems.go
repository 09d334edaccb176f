package document

import (
	"cmp"
	"fmt"
	"slices"
)

// MaxProblems is how many problems are told: nobody reads more, and a file of a
// megabyte could have a hundred thousand. Of warnings as many.
const MaxProblems = 100

// Problem is one thing that is wrong.
type Problem struct {
	Pos
	// Path leads to it, as in matrix.linux.axes.cpu; may be empty.
	Path string
	// Message says what is wrong and what would be right.
	Message string
	// Variants counts the variants of a family, Failed those of them that could
	// not be rendered; Samples are some of these.
	Failed, Variants int
	Samples          []Sample
}

// Sample is one variant that could not be rendered.
type Sample struct {
	// Bindings are the axes and their values: os=linux, cpu=2.
	Bindings string
	Problems []Problem
}

// Warning is about something that is allowed and probably not meant.
type Warning struct {
	Pos
	// Message says what is odd.
	Message string
}

// Problems collects what is wrong. The zero value is ready for use.
type Problems struct {
	all     []Problem
	seen    map[string]bool
	dropped int
	// Warnings in the order in which they came.
	Warnings []Warning
}

// Add tells a problem.
func (p *Problems) Add(at Pos, path, format string, args ...any) {
	if p.Full() {
		p.dropped++
		return
	}
	p.Put(Problem{Pos: at, Path: path, Message: fmt.Sprintf(format, args...)})
}

// Put adds a problem once: what is merged under many templates fails in each.
func (p *Problems) Put(one Problem) {
	id := fmt.Sprint(one.Line, ":", one.Column, " ", one.Message)
	if p.seen == nil {
		p.seen = map[string]bool{}
	}
	if p.seen[id] {
		return
	}
	if p.Full() {
		p.dropped++
		return
	}
	p.seen[id] = true
	p.all = append(p.all, one)
}

// Full says that no more problems are told: what is only for a message, such as
// a place in a long line or a likely word, need not be looked for.
func (p *Problems) Full() bool { return len(p.all) == MaxProblems }

// Hint is DidYouMean, as long as somebody reads it.
func (p *Problems) Hint(word string, known []string) string {
	if p.Full() {
		return ""
	}
	return DidYouMean(word, known)
}

// Count is for "has anything been added since".
func (p *Problems) Count() int { return len(p.all) + p.dropped }

// Warn adds a warning once.
func (p *Problems) Warn(at Pos, format string, args ...any) {
	if p.Warned() {
		return
	}
	w := Warning{Pos: at, Message: fmt.Sprintf(format, args...)}
	if !slices.Contains(p.Warnings, w) {
		p.Warnings = append(p.Warnings, w)
	}
}

// Warned says that no more warnings are told.
func (p *Problems) Warned() bool { return len(p.Warnings) == MaxProblems }

// Found are the problems in the order of the file, and how many more there are.
func (p *Problems) Found() (all []Problem, dropped int) {
	slices.SortStableFunc(p.all, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return p.all, p.dropped
}
