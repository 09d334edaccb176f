package document

import "strings"

// Pos is a place in the file, both numbers from 1; zero is the whole file.
type Pos struct{ Line, Column int }

// Kind is what a node is.
type Kind uint8

// The kinds of nodes.
const (
	Null Kind = iota
	Bool
	Number
	Text
	List
	Map
)

// String names the kind with its article, for messages.
func (k Kind) String() string {
	return [...]string{"null", "true or false", "a number", "text", "a list", "a map"}[k]
}

// Node is a piece of the file, or a value that an expression gave (then Pos is
// the expression's). Nothing changes it once it is made, so merging shares it.
type Node struct {
	Pos
	Kind    Kind
	Flag    bool
	Number  float64
	Text    string // of Text; of the other scalars, as written
	Items   []*Node
	Entries []Entry
	// Segments is set on text with expressions in it.
	Segments []Segment
	// Dynamic says that an expression is in it or below it.
	Dynamic bool
	// Bad says that an expression in it or below it can't be read; that is told.
	Bad bool
	// Unwritten is a null of which nothing is written: a key without a value.
	Unwritten bool
	// Computed says that an expression gave it.
	Computed bool
}

// Entry is one key of a map.
type Entry struct {
	Key string
	Pos Pos
	Val *Node
}

// Get finds a key of a map, or nil.
func (n *Node) Get(key string) *Node {
	if n == nil {
		return nil
	}
	for _, e := range n.Entries {
		if e.Key == key {
			return e.Val
		}
	}
	return nil
}

// Describe says what a node is, for messages: its kind and, of scalars, what is
// written.
func (n *Node) Describe() string {
	switch n.Kind {
	case Bool, Number:
		return n.Kind.String() + " (" + Shorten(n.Scalar()) + ")"
	case Text:
		return n.Kind.String() + " (" + Quote(n.Text) + ")"
	case List, Map:
		if len(n.Items)+len(n.Entries) == 0 {
			return strings.Replace(n.Kind.String(), "a ", "an empty ", 1)
		}
	}
	return n.Kind.String()
}

// Scalar is the text of a scalar; null is empty.
func (n *Node) Scalar() string {
	switch n.Kind {
	case Bool:
		if n.Flag {
			return "true"
		}
		return "false"
	case Number:
		return NumberText(n.Number)
	case Text:
		return n.Text
	}
	return ""
}

// Merge puts over on under: maps merge, everything else is replaced. Keys keep
// the order of under, new ones follow. Nodes are shared, not copied.
func Merge(under, over *Node) *Node {
	if under == nil {
		return over
	}
	if under.Kind != Map || over.Kind != Map || under.Segments != nil || over.Segments != nil {
		return over
	}
	out := &Node{Pos: over.Pos, Kind: Map}
	index := make(map[string]int, len(under.Entries))
	for i, e := range under.Entries {
		index[e.Key] = i
	}
	out.Entries = append(out.Entries, under.Entries...)
	for _, e := range over.Entries {
		if i, ok := index[e.Key]; ok {
			out.Entries[i] = Entry{Key: e.Key, Pos: e.Pos, Val: Merge(out.Entries[i].Val, e.Val)}
			continue
		}
		out.Entries = append(out.Entries, e)
	}
	for _, e := range out.Entries {
		out.Dynamic = out.Dynamic || e.Val.Dynamic
		out.Bad = out.Bad || e.Val.Bad
	}
	return out
}

// Measure counts the values in a node and the bytes of their texts and keys.
func (n *Node) Measure() (values, text int) {
	values, text = 1, len(n.Text)
	for _, item := range n.Items {
		v, t := item.Measure()
		values, text = values+v, text+t
	}
	for _, e := range n.Entries {
		v, t := e.Val.Measure()
		values, text = values+v, text+t+len(e.Key)
	}
	return values, text
}
