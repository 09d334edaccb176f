package file

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

const (
	// maxDepth bounds nesting in the file, in fromJson and in values.
	maxDepth = 100
	// maxAliased is how many values all aliases together may expand to.
	maxAliased = 100_000
)

// decoder turns YAML into nodes, checking what every part of the file must keep:
// one document, no key twice, no unknown tags, no endless aliases.
type decoder struct {
	problems *problems
	source   *source
	aliased  int
	open     map[*yaml.Node]bool // anchors being expanded
	depth    int
	stopped  bool   // an alias blew up: say so once
	empty    string // says that there is nothing
}

// decode returns nil where there is nothing to go on with.
func (d *decoder) decode(data []byte) *node {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			d.problems.add(pos{}, "", "%s", cmp.Or(d.empty, "the file is empty: it needs templates or a matrix"))
		} else {
			d.syntax(err)
		}
		return nil
	}
	var second yaml.Node
	switch err := dec.Decode(&second); {
	case err == nil:
		d.problems.add(place(&second), "", "a second document: the file must have one")
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
		d.problems.add(pos{}, "", "not YAML: %v", err)
		return
	}
	at, advice := pos{}, ""
	if line, convErr := strconv.Atoi(m[1]); convErr == nil {
		at = pos{line, d.source.firstColumn(line)}
		if d.source.mentions(line, openMark) {
			advice = ": put the text with the expression in quotes"
		}
	}
	d.problems.add(at, "", "not YAML: %s%s", m[2], advice)
}

func place(n *yaml.Node) pos { return pos{n.Line, n.Column} }

// nothing stands for what could not be read; its problem is told already.
func nothing(at pos) *node { return &node{pos: at, kind: kindNull} }

func (d *decoder) node(n *yaml.Node) *node {
	at := place(n)
	if d.stopped {
		return nothing(at)
	}
	if len(d.open) > 0 {
		if d.aliased++; d.aliased > maxAliased {
			d.stopped = true
			d.problems.add(at, "", "aliases expand to more than %d values", maxAliased)
			return nothing(at)
		}
	}
	if d.depth++; d.depth > maxDepth {
		d.stopped = true
		d.problems.add(at, "", "nested more than %d deep", maxDepth)
	}
	defer func() { d.depth-- }()
	switch {
	case d.stopped:
		return nothing(at)
	case n.Kind == yaml.AliasNode:
		return d.alias(n)
	case n.Kind == yaml.SequenceNode && n.ShortTag() == "!!seq":
		out := &node{pos: at, kind: kindList, items: make([]*node, 0, len(n.Content))}
		for _, item := range n.Content {
			out.items = append(out.items, d.node(item))
		}
		return out
	case n.Kind == yaml.MappingNode && n.ShortTag() == "!!map":
		return d.mapping(n)
	case n.Kind == yaml.ScalarNode:
		return d.scalar(n)
	}
	d.problems.add(at, "", "tag %s is not supported", n.Tag)
	return nothing(at)
}

func (d *decoder) alias(n *yaml.Node) *node {
	if d.open[n.Alias] {
		d.problems.add(place(n), "", "alias *%s contains itself", n.Value)
		d.stopped = true
		return nothing(place(n))
	}
	d.open[n.Alias] = true
	defer delete(d.open, n.Alias)
	return d.node(n.Alias)
}

// mapping reads a map; a merge key (<<) adds what is not there yet, at its place.
func (d *decoder) mapping(n *yaml.Node) *node {
	out := &node{pos: place(n), kind: kindMap, entries: make([]entry, 0, len(n.Content)/2)}
	index := map[string]int{}
	merged := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		keyNode, at := n.Content[i], place(n.Content[i])
		if isMerge(keyNode) {
			for _, e := range d.mergeKey(n.Content[i+1]) {
				if _, ok := index[e.key]; !ok {
					index[e.key] = len(out.entries)
					merged[e.key] = true
					out.entries = append(out.entries, e)
				}
			}
			continue
		}
		key := d.node(keyNode)
		val := d.node(n.Content[i+1])
		if key.kind == kindList || key.kind == kindMap {
			d.problems.add(at, "", "a key must be text, this one is %s", key.kind)
			continue
		}
		name := key.scalarText()
		if key.kind == kindNull || key.kind == kindBool {
			name = keyNode.Value // a variable may be called NULL or TRUE
		}
		if j, ok := index[name]; ok && !merged[name] {
			d.problems.add(at, "", "key %s is written twice; first at line %d", quote(name), out.entries[j].pos.line)
			continue
		} else if ok {
			delete(merged, name)
			out.entries[j] = entry{name, at, val}
			continue
		}
		index[name] = len(out.entries)
		out.entries = append(out.entries, entry{name, at, val})
	}
	return out
}

func isMerge(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Value == "<<" && n.ShortTag() == "!!merge"
}

func (d *decoder) mergeKey(n *yaml.Node) []entry {
	val := d.node(n)
	switch {
	case d.stopped:
		return nil
	case val.kind == kindMap:
		return val.entries
	case val.kind == kindList:
		var out []entry
		for _, item := range val.items {
			if item.kind != kindMap {
				d.problems.add(item.pos, "", "a merge key (<<) takes maps, this is %s", item.kind)
				continue
			}
			out = append(out, item.entries...)
		}
		return out
	}
	d.problems.add(place(n), "", "a merge key (<<) takes a map or a list of maps, this is %s", val.kind)
	return nil
}

func (d *decoder) scalar(n *yaml.Node) *node {
	out := &node{pos: place(n), kind: kindText, text: n.Value}
	switch n.ShortTag() {
	case "!!null":
		out.kind = kindNull
		out.unwritten = n.Value == ""
	case "!!bool":
		// Words such as yes are text in YAML 1.2; the parser tags only true and false.
		switch strings.ToLower(n.Value) {
		case "true":
			out.kind, out.flag = kindBool, true
		case "false":
			out.kind = kindBool
		default:
			d.problems.add(out.pos, "", "%s is neither true nor false", quote(n.Value))
		}
	case "!!int", "!!float":
		number, ok := parseNumber(n.Value)
		if !ok {
			d.problems.add(out.pos, "", "%s is not a finite number", quote(n.Value))
			return nothing(out.pos)
		}
		out.kind, out.number = kindNumber, number
	case "!!str", "!!timestamp", "!!merge":
		// A date is what is written: the format has no use for points in time.
		if strings.ContainsRune(n.Value, 0) {
			d.problems.add(out.pos, "", "text with a NUL character")
		}
	default:
		d.problems.add(out.pos, "", "tag %s is not supported", n.Tag)
	}
	return out
}

// parseNumber reads a number as YAML 1.2 has it: 010 is ten, 0o10 is eight.
func parseNumber(s string) (float64, bool) {
	plain := strings.ReplaceAll(s, "_", "")
	sign := 1.0
	digits := strings.TrimPrefix(plain, "+")
	if rest, ok := strings.CutPrefix(plain, "-"); ok {
		sign, digits = -1, rest
	}
	for prefix, base := range map[string]int{"0x": 16, "0o": 8, "0b": 2} {
		if rest, ok := strings.CutPrefix(strings.ToLower(digits), prefix); ok {
			n, err := strconv.ParseUint(rest, base, 64)
			return sign * float64(n), err == nil
		}
	}
	f, err := strconv.ParseFloat(digits, 64)
	return sign * f, err == nil && !math.IsInf(f, 0) && !math.IsNaN(f)
}
