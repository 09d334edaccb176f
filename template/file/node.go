package file

import "strings"

// pos is a place in the file, both numbers from 1; zero is the whole file.
type pos struct{ line, column int }

type kind uint8

const (
	kindNull kind = iota
	kindBool
	kindNumber
	kindText
	kindList
	kindMap
)

// String names the kind with its article, for messages.
func (k kind) String() string {
	return [...]string{"null", "true or false", "a number", "text", "a list", "a map"}[k]
}

// node is a piece of the file, or a value that an expression gave (then pos is
// the expression's). Nothing changes it once it is made, so merging shares it.
type node struct {
	pos
	kind    kind
	flag    bool
	number  float64
	text    string // of kindText; of the other scalars, as written
	items   []*node
	entries []entry
	// segments is set on text with expressions in it.
	segments []segment
	// dynamic says that an expression is in it or below it.
	dynamic bool
	// bad says that an expression in it or below it can't be read; that is told.
	bad bool
	// unwritten is a null of which nothing is written: a key without a value.
	unwritten bool
	// computed says that an expression gave it.
	computed bool
}

// entry is one key of a map.
type entry struct {
	key string
	pos pos
	val *node
}

// get finds a key of a map, or nil.
func (n *node) get(key string) *node {
	if n == nil {
		return nil
	}
	for _, e := range n.entries {
		if e.key == key {
			return e.val
		}
	}
	return nil
}

// describe says what a node is, for messages: its kind and, of scalars, what is
// written.
func (n *node) describe() string {
	switch n.kind {
	case kindBool, kindNumber:
		return n.kind.String() + " (" + shorten(n.scalarText()) + ")"
	case kindText:
		return n.kind.String() + " (" + quote(n.text) + ")"
	case kindList, kindMap:
		if len(n.items)+len(n.entries) == 0 {
			return strings.Replace(n.kind.String(), "a ", "an empty ", 1)
		}
	}
	return n.kind.String()
}

// scalarText is the text of a scalar; null is empty.
func (n *node) scalarText() string {
	switch n.kind {
	case kindBool:
		if n.flag {
			return "true"
		}
		return "false"
	case kindNumber:
		return numberText(n.number)
	case kindText:
		return n.text
	}
	return ""
}

// merge puts over on under: maps merge, everything else is replaced. Keys keep
// the order of under, new ones follow. Nodes are shared, not copied.
func merge(under, over *node) *node {
	if under == nil {
		return over
	}
	if under.kind != kindMap || over.kind != kindMap || under.segments != nil || over.segments != nil {
		return over
	}
	out := &node{pos: over.pos, kind: kindMap}
	index := make(map[string]int, len(under.entries))
	for i, e := range under.entries {
		index[e.key] = i
	}
	out.entries = append(out.entries, under.entries...)
	for _, e := range over.entries {
		if i, ok := index[e.key]; ok {
			out.entries[i] = entry{key: e.key, pos: e.pos, val: merge(out.entries[i].val, e.val)}
			continue
		}
		out.entries = append(out.entries, e)
	}
	for _, e := range out.entries {
		out.dynamic = out.dynamic || e.val.dynamic
		out.bad = out.bad || e.val.bad
	}
	return out
}

// measure counts the values in a node and the bytes of their texts and keys.
func (n *node) measure() (values, text int) {
	values, text = 1, len(n.text)
	for _, item := range n.items {
		v, t := item.measure()
		values, text = values+v, text+t
	}
	for _, e := range n.entries {
		v, t := e.val.measure()
		values, text = values+v, text+t+len(e.key)
	}
	return values, text
}

func shorten(s string) string {
	n := 60
	for i := range s {
		if n == 0 {
			return s[:i] + "…"
		}
		n--
	}
	return s
}

func quote(s string) string {
	return `"` + strings.NewReplacer("\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(shorten(s)) + `"`
}
