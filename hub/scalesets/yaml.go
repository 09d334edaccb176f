package scalesets

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"gopkg.in/yaml.v3"
)

// node is the document in YAML, its fields in their order. It is built by hand: the
// encoder writes some texts so that they read otherwise.
func (d Document) node() *yaml.Node {
	out := &yaml.Node{Kind: yaml.MappingNode}
	v := reflect.ValueOf(d)
	for i := range v.NumField() {
		value := set(v.Field(i))
		if value == nil {
			continue
		}
		n := valueNode(value)
		if name := fieldName(i); name == "labels" || strings.HasPrefix(name, "cap_") {
			n.Style = yaml.FlowStyle // short words
		}
		out.Content = append(out.Content, textNode(fieldName(i)), n)
	}
	return out
}

// valueNode knows the types of a Document's fields.
func valueNode(value any) *yaml.Node {
	switch v := value.(type) {
	case string:
		return textNode(v)
	case bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strconv.FormatBool(v)}
	case int:
		return numberNode(strconv.Itoa(v))
	case int64:
		return numberNode(strconv.FormatInt(v, 10))
	case float64:
		return numberNode(strconv.FormatFloat(v, 'f', -1, 64))
	case Size:
		return valueNode(v.value())
	case GPUs:
		return valueNode(v.value())
	case Duration:
		return textNode(v.String())
	case []string:
		return listNode(v)
	case []Mount:
		return listNode(v)
	case map[string]string:
		out := &yaml.Node{Kind: yaml.MappingNode}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			out.Content = append(out.Content, textNode(key), textNode(v[key]))
		}
		return out
	case Mount:
		return v.node()
	}
	panic(fmt.Sprintf("scalesets: a document has a field of type %T", value)) // a test sets every field
}

func (m Mount) node() *yaml.Node {
	out := &yaml.Node{Kind: yaml.MappingNode}
	add := func(name string, value *yaml.Node) { out.Content = append(out.Content, textNode(name), value) }
	if m.Volume != "" {
		add("volume", textNode(m.Volume))
	}
	if m.Bind != "" {
		add("bind", textNode(m.Bind))
	}
	add("target", textNode(m.Target))
	if m.ReadOnly {
		add("read_only", valueNode(true))
	}
	return out
}

func listNode[T any](items []T) *yaml.Node {
	out := &yaml.Node{Kind: yaml.SequenceNode}
	for _, item := range items {
		out.Content = append(out.Content, valueNode(item))
	}
	return out
}

// numberNode has no tag: a whole number is one whatever it is a value of.
func numberNode(text string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: text} }

// textNode is text, which the encoder puts in quotes where it would be read as
// something else, but for << and for blocks that lose white space at their edges.
func textNode(text string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
	if text == "<<" || strings.Contains(text, "\n") && !plainBlock(text) {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

// plainBlock says whether a text of several lines may stand as a block, which is
// easier to read.
func plainBlock(text string) bool {
	if strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }) {
		return false
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for _, edge := range []string{lines[0], lines[len(lines)-1]} {
		if edge == "" || edge[0] == ' ' {
			return false
		}
	}
	return true
}
