package document

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

const (
	// MaxDepth bounds nesting in the file, in fromJson and in values.
	MaxDepth = 100
	// maxAliased is how many values all aliases together may expand to.
	maxAliased = 100_000
)

// decoder turns YAML into nodes, checking what every part of the file must keep:
// one document, no key twice, no unknown tags, no endless aliases.
type decoder struct {
	*File
	empty   string // says that there is nothing
	aliased int
	open    map[*yaml.Node]bool // anchors being expanded
	depth   int
	stopped bool // an alias blew up: say so once
}

// decode returns nil where there is nothing to go on with.
func (d *decoder) decode(data []byte) *Node {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			d.Add(Pos{}, "", "%s", d.empty)
		} else {
			d.syntax(err)
		}
		return nil
	}
	var second yaml.Node
	switch err := dec.Decode(&second); {
	case err == nil:
		d.Add(place(&second), "", "a second document: the file must have one")
		return nil
	case !errors.Is(err, io.EOF):
		d.syntax(err)
		return nil
	}
	d.open = map[*yaml.Node]bool{}
	return d.node(doc.Content[0])
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

func (d *decoder) syntax(err error) {
	m := yamlLine.FindStringSubmatch(strings.ReplaceAll(err.Error(), "\n", " "))
	if m == nil {
		d.Add(Pos{}, "", "not YAML: %v", err)
		return
	}
	at, advice := Pos{}, ""
	if line, convErr := strconv.Atoi(m[1]); convErr == nil {
		at = Pos{line, d.source.firstColumn(line)}
		if d.source.mentions(line, OpenMark) {
			advice = ": put the text with the expression in quotes"
		}
	}
	d.Add(at, "", "not YAML: %s%s", m[2], advice)
}

func place(n *yaml.Node) Pos { return Pos{n.Line, n.Column} }

// nothing stands for what could not be read; its problem is told already.
func nothing(at Pos) *Node { return &Node{Pos: at, Kind: Null} }

func (d *decoder) node(n *yaml.Node) *Node {
	at := place(n)
	if d.stopped {
		return nothing(at)
	}
	if len(d.open) > 0 {
		if d.aliased++; d.aliased > maxAliased {
			d.stopped = true
			d.Add(at, "", "aliases expand to more than %d values", maxAliased)
			return nothing(at)
		}
	}
	if d.depth++; d.depth > MaxDepth {
		d.stopped = true
		d.Add(at, "", "nested more than %d deep", MaxDepth)
	}
	defer func() { d.depth-- }()
	switch {
	case d.stopped:
		return nothing(at)
	case n.Kind == yaml.AliasNode:
		return d.alias(n)
	case n.Kind == yaml.SequenceNode && n.ShortTag() == "!!seq":
		out := &Node{Pos: at, Kind: List, Items: make([]*Node, 0, len(n.Content))}
		for _, item := range n.Content {
			out.Items = append(out.Items, d.node(item))
		}
		return out
	case n.Kind == yaml.MappingNode && n.ShortTag() == "!!map":
		return d.mapping(n)
	case n.Kind == yaml.ScalarNode:
		return d.scalar(n)
	}
	d.Add(at, "", "tag %s is not supported", n.Tag)
	return nothing(at)
}

func (d *decoder) alias(n *yaml.Node) *Node {
	if d.open[n.Alias] {
		d.Add(place(n), "", "alias *%s contains itself", n.Value)
		d.stopped = true
		return nothing(place(n))
	}
	d.open[n.Alias] = true
	defer delete(d.open, n.Alias)
	return d.node(n.Alias)
}

// mapping reads a map; a merge key (<<) adds what is not there yet, at its place.
func (d *decoder) mapping(n *yaml.Node) *Node {
	out := &Node{Pos: place(n), Kind: Map, Entries: make([]Entry, 0, len(n.Content)/2)}
	index := map[string]int{}
	merged := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		keyNode, at := n.Content[i], place(n.Content[i])
		if isMerge(keyNode) {
			for _, e := range d.mergeKey(n.Content[i+1]) {
				if _, ok := index[e.Key]; !ok {
					index[e.Key] = len(out.Entries)
					merged[e.Key] = true
					out.Entries = append(out.Entries, e)
				}
			}
			continue
		}
		key := d.node(keyNode)
		val := d.node(n.Content[i+1])
		if key.Kind == List || key.Kind == Map {
			d.Add(at, "", "a key must be text, this one is %s", key.Kind)
			continue
		}
		name := key.Scalar()
		if key.Kind == Null || key.Kind == Bool {
			name = keyNode.Value // a variable may be called NULL or TRUE
		}
		if j, ok := index[name]; ok && !merged[name] {
			d.Add(at, "", "key %s is written twice; first at line %d", Quote(name), out.Entries[j].Pos.Line)
			continue
		} else if ok {
			delete(merged, name)
			out.Entries[j] = Entry{name, at, val}
			continue
		}
		index[name] = len(out.Entries)
		out.Entries = append(out.Entries, Entry{name, at, val})
	}
	return out
}

func isMerge(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Value == "<<" && n.ShortTag() == "!!merge"
}

func (d *decoder) mergeKey(n *yaml.Node) []Entry {
	val := d.node(n)
	switch {
	case d.stopped:
		return nil
	case val.Kind == Map:
		return val.Entries
	case val.Kind == List:
		var out []Entry
		for _, item := range val.Items {
			if item.Kind != Map {
				d.Add(item.Pos, "", "a merge key (<<) takes maps, this is %s", item.Kind)
				continue
			}
			out = append(out, item.Entries...)
		}
		return out
	}
	d.Add(place(n), "", "a merge key (<<) takes a map or a list of maps, this is %s", val.Kind)
	return nil
}

func (d *decoder) scalar(n *yaml.Node) *Node {
	out := &Node{Pos: place(n), Kind: Text, Text: n.Value}
	switch n.ShortTag() {
	case "!!null":
		out.Kind = Null
		out.Unwritten = n.Value == ""
	case "!!bool":
		// Words such as yes are text in YAML 1.2; the parser tags only true and false.
		switch strings.ToLower(n.Value) {
		case "true":
			out.Kind, out.Flag = Bool, true
		case "false":
			out.Kind = Bool
		default:
			d.Add(out.Pos, "", "%s is neither true nor false", Quote(n.Value))
		}
	case "!!int", "!!float":
		number, ok := ParseNumber(n.Value)
		if !ok {
			d.Add(out.Pos, "", "%s is not a finite number", Quote(n.Value))
			return nothing(out.Pos)
		}
		out.Kind, out.Number = Number, number
	case "!!str", "!!timestamp", "!!merge":
		// A date is what is written: the format has no use for points in time.
		if strings.ContainsRune(n.Value, 0) {
			d.Add(out.Pos, "", "text with a NUL character")
		}
	default:
		d.Add(out.Pos, "", "tag %s is not supported", n.Tag)
	}
	return out
}
