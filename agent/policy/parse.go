package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// keys are those of agent.yaml, and how each is read into Rules.
var keys = map[string]func(*parser, *yaml.Node, *Rules){
	"version":        (*parser).version,
	"images":         listed(func(r *Rules) *[]string { return &r.Images }),
	"runtimes":       listed(func(r *Rules) *[]string { return &r.Runtimes }),
	"networks":       listed(func(r *Rules) *[]string { return &r.Networks }),
	"capabilities":   listed(func(r *Rules) *[]string { return &r.Capabilities }),
	"binds":          (*parser).binds,
	"gpus":           (*parser).gpus,
	"privileged":     flag(func(r *Rules) *bool { return &r.Privileged }, true),
	"volumes":        flag(func(r *Rules) *bool { return &r.ForbidVolumes }, false),
	"new_privileges": flag(func(r *Rules) *bool { return &r.ForbidNewPrivileges }, false),
	"inject_runner":  flag(func(r *Rules) *bool { return &r.ForbidInjection }, false),
	"updates":        flag(func(r *Rules) *bool { return &r.ForbidUpdates }, false),
	"max_runners":    (*parser).maxRunners,
	"max_cpu":        (*parser).maxCPU,
	"max_memory":     bytesOf(func(r *Rules) *int64 { return &r.MaxMemory }),
	"max_shm":        bytesOf(func(r *Rules) *int64 { return &r.MaxShm }),
	"max_pids":       (*parser).maxPids,
}

// formatVersion is what version may say.
const formatVersion = "1"

// Parse reads agent.yaml from data; name stands for it in errors. It tells every
// problem that it finds, each as name:line:column.
func Parse(name string, data []byte) (*Policy, error) {
	p := &parser{name: name}
	rules := p.document(data)
	if len(p.problems) > 0 {
		return nil, fmt.Errorf("%w: %w", ErrFile, errors.Join(p.problems...))
	}
	policy, err := New(rules)
	if err != nil { // the parser has asked New about each key by itself
		return nil, fmt.Errorf("%w: %s: %w", ErrFile, name, err)
	}
	return policy, nil
}

type parser struct {
	name     string
	key      string // being read
	problems []error
}

func (p *parser) bad(n *yaml.Node, format string, args ...any) {
	place := p.name
	if n != nil && n.Line > 0 {
		place = fmt.Sprintf("%s:%d:%d", p.name, n.Line, n.Column)
	}
	text := fmt.Sprintf(format, args...)
	if p.key != "" {
		text = p.key + " " + text
	}
	p.problems = append(p.problems, fmt.Errorf("%s: %s", place, text))
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

func (p *parser) document(data []byte) (rules Rules) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	err := decoder.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return rules // nothing is said: all of it is the default
	}
	if err == nil {
		if err = decoder.Decode(&second); err == nil {
			p.bad(&second, "a second document: the file must have one")
			return rules
		}
	}
	if !errors.Is(err, io.EOF) {
		p.syntax(err)
		return rules
	}
	root := doc.Content[0]
	switch {
	case root.ShortTag() == "!!null":
	case root.Kind != yaml.MappingNode || root.ShortTag() != "!!map":
		p.bad(root, "the file must be keys with values")
	default:
		p.mapping(root, &rules)
	}
	return rules
}

func (p *parser) syntax(err error) {
	at := &yaml.Node{}
	text := strings.ReplaceAll(err.Error(), "\n", " ")
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		text = m[2]
		if line, err := strconv.Atoi(m[1]); err == nil {
			at.Line, at.Column = line, 1
		}
	}
	p.bad(at, "not YAML: %s", text)
}

func (p *parser) mapping(root *yaml.Node, rules *Rules) {
	seen := map[string]int{}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		if key.Kind != yaml.ScalarNode {
			p.bad(key, "a key must be a word")
			continue
		}
		read, is := keys[key.Value]
		line, twice := seen[key.Value]
		seen[key.Value] = key.Line
		switch {
		case !is:
			p.bad(key, "unknown key %s%s", short(key.Value), didYouMean(key.Value))
		case twice:
			p.bad(key, "the key %s is written twice; first at line %d", key.Value, line)
		default:
			p.key = key.Value
			read(p, value, rules)
			p.key = ""
		}
	}
}

// scalar returns the text of a value that has one of the tags.
func (p *parser) scalar(n *yaml.Node, what string, tags ...string) (string, bool) {
	switch {
	case n.Kind == yaml.AliasNode:
		p.bad(n, "must be written out: aliases are not supported")
	case n.Kind != yaml.ScalarNode || !slices.Contains(tags, n.ShortTag()):
		p.bad(n, "must be %s", what)
	case strings.ContainsFunc(n.Value, func(c rune) bool { return c < ' ' }) || n.Value == "":
		p.bad(n, "must not be empty or have control characters")
	default:
		return n.Value, true
	}
	return "", false
}

// list returns the texts of a list, and their places.
func (p *parser) list(n *yaml.Node, what string) (texts []string, at []*yaml.Node, ok bool) {
	if n.Kind != yaml.SequenceNode || n.ShortTag() != "!!seq" {
		p.bad(n, "must be %s; [] is an empty one", what)
		return nil, nil, false
	}
	texts = []string{}
	for _, item := range n.Content {
		// A number is a name like any other here.
		text, good := p.scalar(item, "a list of texts", "!!str", "!!int")
		if !good {
			return nil, nil, false
		}
		texts, at = append(texts, text), append(at, item)
	}
	return texts, at, true
}

// try asks New about one more of a list, so that its problem gets its place.
func (p *parser) try(n *yaml.Node, rules Rules) {
	if _, err := New(rules); err != nil {
		text := err.Error()
		if _, rest, ok := strings.Cut(text, ": "); ok {
			text = rest // the key is told already
		}
		p.bad(n, "%s", text)
	}
}

func listed(field func(*Rules) *[]string) func(*parser, *yaml.Node, *Rules) {
	return func(p *parser, n *yaml.Node, rules *Rules) {
		texts, at, ok := p.list(n, "a list")
		if !ok {
			return
		}
		for i, text := range texts {
			var alone Rules
			*field(&alone) = []string{text}
			p.try(at[i], alone)
		}
		*field(rules) = texts
	}
}

// flag reads true or false; when is the value that sets the field.
func flag(field func(*Rules) *bool, when bool) func(*parser, *yaml.Node, *Rules) {
	return func(p *parser, n *yaml.Node, rules *Rules) {
		text, ok := p.scalar(n, "true or false", "!!bool")
		if ok && text != "true" && text != "false" {
			p.bad(n, "must be true or false")
			return
		}
		if ok {
			*field(rules) = (text == "true") == when
		}
	}
}
