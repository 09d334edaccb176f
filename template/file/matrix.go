package file

import (
	"fmt"
	"strings"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
)

// familyKeys are the keys of a matrix family.
var familyKeys = []string{"axes", "exclude", "include", "let", "key", "template"}

// Bounds of a family; maxExcludes bounds the work of comparing every variant with
// every exclusion.
const (
	maxAxes     = 20
	maxLets     = 100
	maxExcludes = 1000
)

// family is one family of the matrix, read and checked.
type family struct {
	name    string
	pos     pos
	axes    []axis
	exclude []binding
	include []binding
	lets    []entry
	key     *node
	keyPos  pos
	tmpl    *node
	// broken: something above is wrong, and told; it is not rendered.
	broken bool
}

// axis is one dimension. Its values are not empty unless the family is broken.
type axis struct {
	name   string
	values []ref.Val
}

// binding is one entry of exclude or include: values by axis, nil where the axis
// is left out.
type binding struct {
	pos    pos
	values []ref.Val
	weight int
	used   bool
}

// size is how many variants the family has before exclusion, with the include
// list; it stops at more than any limit.
func (f *family) size() int {
	product := 1
	for _, a := range f.axes {
		product = min(product*len(a.values), 1<<30)
	}
	return product + len(f.include)
}

func (ld *loader) families(base *scope, vars map[string]any, section *node) []*family {
	var out []*family
	if len(section.entries) > MaxTemplates {
		ld.problems.add(section.pos, "matrix", "more than %d families", MaxTemplates)
		return nil
	}
	for _, e := range section.entries {
		out = append(out, ld.family(base, vars, e))
	}
	return out
}

func (ld *loader) family(base *scope, vars map[string]any, e entry) *family {
	path := join("matrix", e.key)
	f := &family{name: e.key, pos: e.pos, keyPos: e.pos}
	before := ld.problems.count()
	defer func() { f.broken = f.broken || f.tmpl == nil }()
	if e.val.kind != kindMap {
		ld.problems.add(e.val.pos, path, "must be a map with axes and template, this is %s", e.val.describe())
		return f
	}
	if e.key == "" {
		ld.problems.add(e.pos, path, "a family without a name")
	}
	ld.unknownKeys(e.val, path, "a matrix family", familyKeys)
	ld.axes(f, base, vars, e.val.get("axes"), path)
	if len(f.axes) > 0 {
		f.exclude = ld.bindings(f, base, vars, e.val.get("exclude"), join(path, "exclude"), false)
		f.include = ld.bindings(f, base, vars, e.val.get("include"), join(path, "include"), true)
	}
	ld.lets(f, e.val.get("let"), join(path, "let"))
	if key := e.val.get("key"); key != nil && ld.expression(key, join(path, "key")) {
		f.key, f.keyPos = key, key.pos
	}
	tmpl := e.val.get("template")
	if tmpl == nil {
		ld.problems.add(e.pos, path, "no template: a family needs one, if only {}")
		return f
	}
	f.broken = f.broken || ld.problems.count() > before
	if body, ok := ld.templateMap(tmpl, join(path, "template")); ok {
		f.tmpl = body
	}
	return f
}

// expression checks that n is text with an expression in it.
func (ld *loader) expression(n *node, path string) bool {
	if n.kind != kindText {
		ld.problems.add(n.pos, path, "must be an expression in %s %s, this is %s", openMark, closeMark, n.describe())
		return false
	}
	before := ld.problems.count()
	ld.prepare(n, path)
	if ld.problems.count() > before {
		return false
	}
	for _, s := range n.segments {
		if s.isExpr {
			return true
		}
	}
	ld.problems.add(n.pos, path, "must be an expression: write %s %s %s", openMark, shorten(n.text), closeMark)
	return false
}

func (ld *loader) axes(f *family, base *scope, vars map[string]any, n *node, path string) {
	path = join(path, "axes")
	switch {
	case n == nil:
		ld.problems.add(f.pos, path, "no axes: a family needs one or more")
		return
	case n.kind != kindMap || len(n.entries) == 0:
		ld.problems.add(n.pos, path, "must be a map of one axis or more, this is %s", n.describe())
		return
	case len(n.entries) > maxAxes:
		ld.problems.add(n.pos, path, "more than %d axes", maxAxes)
		return
	}
	for _, e := range n.entries {
		axisPath := join(path, e.key)
		ld.checkName(e, axisPath)
		if e.key == "vars" {
			ld.problems.add(e.pos, axisPath, "vars is the name of the file's variables: call the axis something else")
		}
		values, ok := ld.axisValues(base, vars, e.val, axisPath)
		if !ok {
			f.broken = true
		}
		f.axes = append(f.axes, axis{e.key, values})
	}
}

func (ld *loader) axisValues(base *scope, vars map[string]any, n *node, path string) ([]ref.Val, bool) {
	if n.kind != kindList {
		if n.kind != kindText || !strings.Contains(n.text, openMark) {
			ld.problems.add(n.pos, path, "must be a list, or one expression that gives a list; this is %s", n.describe())
			return nil, false
		}
		if !ld.expression(n, path) {
			return nil, false
		}
	}
	v, ok := ld.overVars(base, vars, n, path)
	if !ok {
		return nil, false
	}
	list, isList := v.(traits.Lister)
	if !isList {
		ld.problems.add(n.pos, path, "must be a list, the expression gives %s", tell(v))
		return nil, false
	}
	var out []ref.Val
	_ = eachItem(list, func(v ref.Val) error {
		out = append(out, v)
		return nil
	})
	if len(out) == 0 {
		ld.problems.add(n.pos, path, "an axis without values")
		return nil, false
	}
	return out, true
}

// overVars evaluates a part of a family that sees vars alone.
func (ld *loader) overVars(base *scope, vars map[string]any, n *node, path string) (ref.Val, bool) {
	before := ld.problems.count()
	ld.prepare(n, path)
	if ld.problems.count() > before || !ld.compile(base, n, path) {
		return nil, false
	}
	v, problem := ld.value(base, n, vars)
	if problem != nil {
		problem.Path = path
		ld.problems.put(*problem)
		return nil, false
	}
	return v, true
}

// bindings reads exclude or include.
func (ld *loader) bindings(f *family, base *scope, vars map[string]any, n *node, path string, complete bool) []binding {
	if n == nil {
		return nil
	}
	if n.kind != kindList {
		ld.problems.add(n.pos, path, "must be a list of maps from axis to value, this is %s", n.describe())
		return nil
	}
	if most := map[bool]int{true: MaxTemplates, false: maxExcludes}[complete]; len(n.items) > most {
		ld.problems.add(n.pos, path, "more than %d entries", most)
		return nil
	}
	var out []binding
	for _, item := range n.items {
		if item.kind != kindMap || len(item.entries) == 0 {
			ld.problems.add(item.pos, path, "must be a map from axis to value with one or more, this is %s", item.describe())
			continue
		}
		if b, ok := ld.binding(f, base, vars, item, path); ok {
			out = append(out, b)
			if complete {
				ld.checkComplete(f, b, path)
			}
		}
	}
	return out
}

func (ld *loader) binding(f *family, base *scope, vars map[string]any, n *node, path string) (binding, bool) {
	names := make([]string, len(f.axes))
	for i, a := range f.axes {
		names[i] = a.name
	}
	b := binding{pos: n.pos, values: make([]ref.Val, len(f.axes))}
	good := ld.unknownKeys(n, path, "a binding of this family", names)
	for i, name := range names {
		val := n.get(name)
		if val == nil {
			continue
		}
		v, ok := ld.overVars(base, vars, val, join(path, name))
		if !ok {
			good = false
			continue
		}
		b.values[i] = v
		weight, _ := weigh(v)
		b.weight += weight
	}
	return b, good
}

func (ld *loader) checkComplete(f *family, b binding, path string) {
	var missing []string
	for i, v := range b.values {
		if v == nil {
			missing = append(missing, f.axes[i].name)
		}
	}
	if len(missing) > 0 {
		ld.problems.add(b.pos, path, "must name every axis, %s is missing", strings.Join(missing, ", "))
	}
}

func (ld *loader) lets(f *family, n *node, path string) {
	if n == nil {
		return
	}
	if n.kind != kindMap {
		ld.problems.add(n.pos, path, "must be a map from name to expression, this is %s", n.describe())
		return
	}
	if len(n.entries) > maxLets {
		ld.problems.add(n.pos, path, "more than %d names", maxLets)
		return
	}
	for _, e := range n.entries {
		letPath := join(path, e.key)
		ld.checkName(e, letPath)
		if e.key == "vars" || f.axisNamed(e.key) {
			ld.problems.add(e.pos, letPath, "the name is taken: call it something else")
		}
		if ld.expression(e.val, letPath) {
			f.lets = append(f.lets, e)
		}
	}
}

func (f *family) axisNamed(name string) bool {
	for _, a := range f.axes {
		if a.name == name {
			return true
		}
	}
	return false
}

// reserved are the words that CEL keeps for itself.
var reserved = strings.Fields(`as break const continue else false for function if import in let loop
	namespace null package return true var void while`)

// checkName warns of names that no expression can use.
func (ld *loader) checkName(e entry, path string) {
	ok := e.key != ""
	for i, c := range []byte(e.key) {
		ok = ok && isWord(c) && (i > 0 || c < '0' || c > '9')
	}
	switch {
	case e.key == "":
		ld.problems.add(e.pos, path, "an empty name")
	case !ok || contains(reserved, e.key):
		ld.problems.warn(e.pos, "%s: expressions can't use this name: a letter or _ first, then letters, digits and _, and no reserved word", path)
	}
}

// withinLimit checks the number of templates before any is made.
func (ld *loader) withinLimit(sections map[string]*node, families []*family) bool {
	hand := len(sections["templates"].entries)
	total := hand
	var shares []string
	for _, f := range families {
		if f.broken {
			continue
		}
		total += f.size()
		shares = append(shares, fmt.Sprintf("%s %d", f.name, f.size()))
	}
	if total <= MaxTemplates {
		return true
	}
	shares = append(shares, fmt.Sprintf("hand-written %d", hand))
	if more := len(shares) - 50; more > 0 {
		shares = append(shares[:50], fmt.Sprintf("and %d more", more))
	}
	at := sections["templates"].pos
	if len(families) > 0 {
		at = sections["matrix"].pos
	}
	ld.problems.add(at, "", "%d templates, at most %d are allowed (before exclusion): %s", total, MaxTemplates, strings.Join(shares, ", "))
	return false
}

// matches says whether a variant is one that b describes.
func (b *binding) matches(values []ref.Val) bool {
	for i, v := range b.values {
		if v != nil && types.Equal(v, values[i]) != types.True {
			return false
		}
	}
	return true
}
