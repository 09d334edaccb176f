package file

import (
	"strings"

	"github.com/slipway-ci/slipway/template"
)

// topLevel are the keys of the file.
var topLevel = []string{"templates", "vars", "defaults", "matrix"}

const (
	// maxKey is how long a template's key may be, in bytes.
	maxKey = 255
	// maxBodyValues and maxBodyText bound the body of a template, and the
	// defaults: they may be merged a thousand times.
	maxBodyValues = 5000
	maxBodyText   = 256 << 10
)

// load reads the whole file and collects every problem on the way; what depends
// on a part that is broken is left out.
func (ld *loader) load() []template.Template {
	if len(ld.source.bytes) > MaxSize {
		ld.problems.add(pos{}, "", "the file is larger than %d KiB", MaxSize>>10)
		return nil
	}
	dec := &decoder{problems: ld.problems, source: ld.source}
	root := dec.decode(ld.source.bytes)
	if root == nil || dec.stopped {
		return nil
	}
	if root.kind != kindMap {
		ld.problems.add(root.pos, "", "the file must be a map with %s; this is %s", strings.Join(topLevel, ", "), root.kind)
		return nil
	}
	ld.unknownKeys(root, "", "the file", topLevel)
	sections := map[string]*node{}
	for _, name := range topLevel {
		sections[name] = ld.section(root, name)
	}
	ld.checkVars(sections["vars"])
	ld.eval = &evaluator{keys: keysOf(sections["vars"]), hints: map[string]string{}}
	base, err := ld.eval.newScope()
	if err != nil {
		ld.problems.add(pos{}, "", "%v", err)
		return nil
	}
	return ld.render(base, sections)
}

func (ld *loader) render(base *scope, sections map[string]*node) []template.Template {
	vars := map[string]any{"vars": toVal(sections["vars"])}
	defaults := sections["defaults"]
	ld.prepare(defaults, "defaults")
	if !ld.checkFields(defaults, "defaults") {
		defaults = nil
	}
	hand := ld.handWritten(base, vars, defaults, sections["templates"])
	families := ld.families(base, vars, sections["matrix"])
	if !ld.withinLimit(sections, families) {
		return nil
	}
	generated := ld.generate(base, vars, defaults, families)
	all := append(hand, generated...)
	if len(all) == 0 && ld.problems.count() == 0 {
		ld.problems.add(pos{}, "", "no templates: the file renders none")
	}
	return all
}

// section is a map of the top level; an empty one where there is none.
func (ld *loader) section(root *node, name string) *node {
	n := root.get(name)
	switch {
	case n == nil:
		return &node{kind: kindMap}
	case n.kind == kindMap:
		return n
	case n.kind == kindNull:
		ld.problems.add(n.pos, name, "no value: write {} for none, or leave the key out")
	default:
		ld.problems.add(n.pos, name, "must be a map, this is %s", n.describe())
	}
	return &node{pos: n.pos, kind: kindMap}
}

// unknownKeys tells the keys of a map that are none of known.
func (ld *loader) unknownKeys(n *node, path, what string, known []string) bool {
	good := true
	for _, e := range n.entries {
		if contains(known, e.key) {
			continue
		}
		good = false
		hint := ld.problems.hint(e.key, known)
		if hint == "" && !ld.problems.full() {
			hint = "; known are " + strings.Join(known, ", ")
		}
		ld.problems.add(e.pos, path, "unknown key %s in %s%s", quote(e.key), what, hint)
	}
	return good
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

// checkVars warns of expressions in vars: they are data.
func (ld *loader) checkVars(n *node) {
	if len(ld.problems.warnings) == maxProblems {
		return
	}
	if n.kind == kindText && strings.Contains(n.text, openMark) {
		at, _ := ld.openerOf(n, 0)
		ld.problems.warn(at, "vars are data: the expression in this text is not evaluated")
	}
	for _, item := range n.items {
		ld.checkVars(item)
	}
	for _, e := range n.entries {
		ld.checkVars(e.val)
	}
}

// keysOf are all keys in a node, for "did you mean"; at most a thousand.
func keysOf(n *node) []string {
	seen := map[string]bool{}
	var keys []string
	var walk func(*node)
	walk = func(n *node) {
		for _, item := range n.items {
			walk(item)
		}
		for _, e := range n.entries {
			if !seen[e.key] && len(keys) < 1000 {
				seen[e.key] = true
				keys = append(keys, e.key)
			}
			walk(e.val)
		}
	}
	walk(n)
	return keys
}

// handWritten renders the section templates.
func (ld *loader) handWritten(base *scope, vars map[string]any, defaults, section *node) []template.Template {
	var out []template.Template
	if len(section.entries) > MaxTemplates {
		return nil // withinLimit tells
	}
	for _, e := range section.entries {
		path := join("templates", e.key)
		ld.hand[e.key] = e.val
		if problem := checkKey(e.key); problem != "" {
			ld.problems.add(e.pos, path, "%s", problem)
			continue
		}
		tmpl, ok := ld.templateMap(e.val, path)
		if !ok {
			continue
		}
		r := ld.newRecipe(base, merge(defaults, tmpl), path, e.pos)
		if r == nil {
			continue
		}
		t, problems := r.render(vars)
		for _, p := range problems {
			p.Path = path + "." + p.Path
			ld.problems.put(p)
		}
		t.Key = e.key
		out = append(out, t)
	}
	return out
}

// templateMap checks and prepares the body of a template.
func (ld *loader) templateMap(n *node, path string) (*node, bool) {
	if n.kind == kindNull && n.unwritten {
		ld.problems.add(n.pos, path, "no value: write {} where the defaults say it all")
		return nil, false
	}
	if n.kind != kindMap {
		ld.problems.add(n.pos, path, "must be a map of the template's fields, this is %s", n.describe())
		return nil, false
	}
	ld.prepare(n, path)
	return n, ld.checkFields(n, path)
}

// checkFields tells unknown fields of a template. It reports whether the body can
// be gone on with: no map in it is too large to be merged a thousand times.
func (ld *loader) checkFields(n *node, path string) bool {
	if values, text := n.measure(); values > maxBodyValues || text > maxBodyText {
		ld.problems.add(n.pos, path, "too large: at most %d values and %d KiB of text are allowed", maxBodyValues, maxBodyText>>10)
		return false
	}
	good := true
	for _, e := range n.entries {
		if fieldNamed(e.key) == nil {
			hint := ""
			if !ld.problems.full() {
				hint = suggestField(e.key)
			}
			ld.problems.add(e.pos, path, "unknown field %s%s", quote(e.key), hint)
		}
		if max(len(e.val.entries), len(e.val.items)) > maxEntries {
			good = false
			ld.problems.add(e.val.pos, join(path, e.key), "more than %d entries", maxEntries)
		}
	}
	return good
}

// checkKey says what is wrong with a template's key, if anything.
func checkKey(key string) string {
	switch {
	case key == "":
		return "an empty key"
	case len(key) > maxKey:
		return "a key of more than 255 bytes"
	case strings.ContainsFunc(key, isControl):
		return "a key with control characters"
	case strings.TrimSpace(key) == "":
		return "a blank key"
	}
	return ""
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }
