package document

import (
	"errors"
	"slices"
	"strings"
)

// File is the text of a file, the places in it and what is wrong with it. It
// is one goroutine's.
type File struct {
	Problems
	source *source
}

// New is a document of that text; nothing is read yet.
func New(data []byte) *File { return &File{source: newSource(data)} }

// Read turns the YAML into nodes; nil where there is nothing to go on with, which
// is told. Empty says what a file without content lacks.
func (d *File) Read(empty string) *Node {
	dec := &decoder{File: d, empty: empty}
	root := dec.decode(d.source.bytes)
	if dec.stopped {
		return nil
	}
	return root
}

// Prepare finds the expressions in a part of the file where they may be, and
// marks what holds them.
func (d *File) Prepare(n *Node, path string) {
	switch n.Kind {
	case Text:
		segments, err := split(n.Text)
		var bad *splitError
		if errors.As(err, &bad) {
			at, _ := d.Opener(n, bad.opener)
			d.Add(at, path, "%s", bad.message)
			n.Bad = true
			return
		}
		n.Segments = segments
		n.Dynamic = segments != nil
	case List:
		for _, item := range n.Items {
			d.Prepare(item, path)
			n.Dynamic, n.Bad = n.Dynamic || item.Dynamic, n.Bad || item.Bad
		}
	case Map:
		for _, e := range n.Entries {
			d.Prepare(e.Val, Join(path, e.Key))
			n.Dynamic, n.Bad = n.Dynamic || e.Val.Dynamic, n.Bad || e.Val.Bad
		}
	}
}

// Opener is the place of the nth "${{" of a text; where the source does not show it,
// that of the text, and false.
func (d *File) Opener(n *Node, nth int) (Pos, bool) {
	at, ok := d.source.opener(n.Pos, nth)
	if !ok {
		return n.Pos, false
	}
	return at, true
}

// Place is where in the file the character offset of a segment's expression is.
func (d *File) Place(n *Node, s Segment, offset int) Pos {
	at, ok := d.Opener(n, s.opener)
	if !ok {
		return at
	}
	return d.source.inside(at, s.Expression, offset)
}

// UnknownKeys tells the keys of a map that are none of known.
func (d *File) UnknownKeys(n *Node, path, what string, known []string) bool {
	good := true
	for _, e := range n.Entries {
		if slices.Contains(known, e.Key) {
			continue
		}
		good = false
		hint := d.Hint(e.Key, known)
		if hint == "" && !d.Full() {
			hint = "; known are " + strings.Join(known, ", ")
		}
		d.Add(e.Pos, path, "unknown key %s in %s%s", Quote(e.Key), what, hint)
	}
	return good
}

// Section is a map of the top level; an empty one where there is none.
func (d *File) Section(root *Node, name string) *Node {
	n := root.Get(name)
	switch {
	case n == nil:
		return &Node{Kind: Map}
	case n.Kind == Map:
		return n
	case n.Kind == Null:
		d.Add(n.Pos, name, "no value: write {} for none, or leave the key out")
	default:
		d.Add(n.Pos, name, "must be a map, this is %s", n.Describe())
	}
	return &Node{Pos: n.Pos, Kind: Map}
}
