package matrix

import (
	"slices"
	"strings"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"

	"github.com/slipway-ci/slipway/template/file/internal/document"
	"github.com/slipway-ci/slipway/template/file/internal/expr"
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

// Family is one family of the matrix, read and checked.
type Family struct {
	Name string
	Pos  document.Pos
	// Body is its template as it is written; nil where there is none.
	Body *document.Node
	// Broken: something of it is wrong, and told; it is not rendered.
	Broken bool

	doc     *document.File
	axes    []axis
	exclude []binding
	include []binding
	lets    []document.Entry
	key     *document.Node
	keyPos  document.Pos
}

// axis is one dimension. Its values are not empty unless the family is broken.
type axis struct {
	name   string
	values []ref.Val
}

// binding is one entry of exclude or include: values by axis, nil where the axis
// is left out.
type binding struct {
	pos    document.Pos
	values []ref.Val
	weight int
	used   bool
}

// Size is how many variants the family has before exclusion, with the include
// list; it stops at more than any limit.
func (f *Family) Size() int {
	product := 1
	for _, a := range f.axes {
		product = min(product*len(a.values), 1<<30)
	}
	return product + len(f.include)
}

// reader reads families, whose axes see vars alone.
type reader struct {
	*document.File
	base *expr.Scope
	most int // entries of an include list
}

// Read reads an entry of the matrix and tells what is wrong with it; what is in the
// body is not looked at. An include list may have that many entries.
func Read(doc *document.File, base *expr.Scope, most int, e document.Entry) *Family {
	path := document.Join("matrix", e.Key)
	f := &Family{Name: e.Key, Pos: e.Pos, keyPos: e.Pos, Broken: true, doc: doc}
	before := doc.Count()
	if e.Val.Kind != document.Map {
		doc.Add(e.Val.Pos, path, "must be a map with axes and template, this is %s", e.Val.Describe())
		return f
	}
	if e.Key == "" {
		doc.Add(e.Pos, path, "a family without a name")
	}
	doc.UnknownKeys(e.Val, path, "a matrix family", familyKeys)
	r := &reader{File: doc, base: base, most: most}
	valued := r.axes(f, e.Val.Get("axes"), path)
	if len(f.axes) > 0 {
		f.exclude = r.bindings(f, e.Val.Get("exclude"), document.Join(path, "exclude"), false)
		f.include = r.bindings(f, e.Val.Get("include"), document.Join(path, "include"), true)
	}
	r.lets(f, e.Val.Get("let"), document.Join(path, "let"))
	if key := e.Val.Get("key"); key != nil && r.expression(key, document.Join(path, "key")) {
		f.key, f.keyPos = key, key.Pos
	}
	if f.Body = e.Val.Get("template"); f.Body == nil {
		doc.Add(e.Pos, path, "no template: a family needs one, if only {}")
		return f
	}
	f.Broken = !valued || doc.Count() > before
	return f
}

// Open makes the scope of what is the family's own, and compiles its lets and its key;
// nil where that can't be, which is told. It reports whether all are good.
func (f *Family) Open(base *expr.Scope) (s *expr.Scope, good bool) {
	path := document.Join("matrix", f.Name)
	names := make([]string, 0, len(f.axes)+len(f.lets))
	for _, a := range f.axes {
		names = append(names, a.name)
	}
	for _, let := range f.lets {
		names = append(names, let.Key)
	}
	s, err := base.Extend(names)
	if err != nil {
		f.doc.Add(f.Pos, path, "%v", err)
		return nil, false
	}
	good = true
	for _, let := range f.lets {
		good = s.Compile(let.Val, document.Join(document.Join(path, "let"), let.Key)) && good
	}
	if f.key != nil {
		good = s.Compile(f.key, document.Join(path, "key")) && good
	}
	return s, good
}

// expression checks that n is text with an expression in it.
func (r *reader) expression(n *document.Node, path string) bool {
	if n.Kind != document.Text {
		r.Add(n.Pos, path, "must be an expression in %s %s, this is %s", document.OpenMark, document.CloseMark, n.Describe())
		return false
	}
	before := r.Count()
	r.Prepare(n, path)
	if r.Count() > before {
		return false
	}
	for _, s := range n.Segments {
		if s.IsExpr {
			return true
		}
	}
	r.Add(n.Pos, path, "must be an expression: write %s %s %s", document.OpenMark, document.Shorten(n.Text), document.CloseMark)
	return false
}

// axes reports whether each that there is has values: that one has none may be told
// already, where an alias names it twice.
func (r *reader) axes(f *Family, n *document.Node, path string) (good bool) {
	path = document.Join(path, "axes")
	switch {
	case n == nil:
		r.Add(f.Pos, path, "no axes: a family needs one or more")
		return true
	case n.Kind != document.Map || len(n.Entries) == 0:
		r.Add(n.Pos, path, "must be a map of one axis or more, this is %s", n.Describe())
		return true
	case len(n.Entries) > maxAxes:
		r.Add(n.Pos, path, "more than %d axes", maxAxes)
		return true
	}
	good = true
	for _, e := range n.Entries {
		axisPath := document.Join(path, e.Key)
		r.checkName(e, axisPath)
		if e.Key == "vars" {
			r.Add(e.Pos, axisPath, "vars is the name of the file's variables: call the axis something else")
		}
		values, ok := r.axisValues(e.Val, axisPath)
		good = good && ok
		f.axes = append(f.axes, axis{e.Key, values})
	}
	return good
}

func (r *reader) axisValues(n *document.Node, path string) ([]ref.Val, bool) {
	if n.Kind != document.List {
		if n.Kind != document.Text || !strings.Contains(n.Text, document.OpenMark) {
			r.Add(n.Pos, path, "must be a list, or one expression that gives a list; this is %s", n.Describe())
			return nil, false
		}
		if !r.expression(n, path) {
			return nil, false
		}
	}
	v, ok := r.overVars(n, path)
	if !ok {
		return nil, false
	}
	list, isList := v.(traits.Lister)
	if !isList {
		r.Add(n.Pos, path, "must be a list, the expression gives %s", expr.Tell(v))
		return nil, false
	}
	var out []ref.Val
	_ = expr.EachItem(list, func(v ref.Val) error {
		out = append(out, v)
		return nil
	})
	if len(out) == 0 {
		r.Add(n.Pos, path, "an axis without values")
		return nil, false
	}
	return out, true
}

// overVars evaluates a part of a family that sees vars alone.
func (r *reader) overVars(n *document.Node, path string) (ref.Val, bool) {
	before := r.Count()
	r.Prepare(n, path)
	if r.Count() > before || !r.base.Compile(n, path) {
		return nil, false
	}
	v, bad := r.base.Value(n, r.base.Vars())
	if bad != nil {
		bad.Path = path
		r.Put(*bad)
		return nil, false
	}
	return v, true
}

// bindings reads exclude or include.
func (r *reader) bindings(f *Family, n *document.Node, path string, complete bool) []binding {
	if n == nil {
		return nil
	}
	if n.Kind != document.List {
		r.Add(n.Pos, path, "must be a list of maps from axis to value, this is %s", n.Describe())
		return nil
	}
	if most := map[bool]int{true: r.most, false: maxExcludes}[complete]; len(n.Items) > most {
		r.Add(n.Pos, path, "more than %d entries", most)
		return nil
	}
	var out []binding
	for _, item := range n.Items {
		if item.Kind != document.Map || len(item.Entries) == 0 {
			r.Add(item.Pos, path, "must be a map from axis to value with one or more, this is %s", item.Describe())
			continue
		}
		if b, ok := r.binding(f, item, path); ok {
			out = append(out, b)
			if complete {
				r.checkComplete(f, b, path)
			}
		}
	}
	return out
}

func (r *reader) binding(f *Family, n *document.Node, path string) (binding, bool) {
	names := make([]string, len(f.axes))
	for i, a := range f.axes {
		names[i] = a.name
	}
	b := binding{pos: n.Pos, values: make([]ref.Val, len(f.axes))}
	good := r.UnknownKeys(n, path, "a binding of this family", names)
	for i, name := range names {
		val := n.Get(name)
		if val == nil {
			continue
		}
		v, ok := r.overVars(val, document.Join(path, name))
		if !ok {
			good = false
			continue
		}
		b.values[i] = v
		weight, _ := expr.Weigh(v)
		b.weight += weight
	}
	return b, good
}

func (r *reader) checkComplete(f *Family, b binding, path string) {
	var missing []string
	for i, v := range b.values {
		if v == nil {
			missing = append(missing, f.axes[i].name)
		}
	}
	if len(missing) > 0 {
		r.Add(b.pos, path, "must name every axis, %s is missing", strings.Join(missing, ", "))
	}
}

func (r *reader) lets(f *Family, n *document.Node, path string) {
	if n == nil {
		return
	}
	if n.Kind != document.Map {
		r.Add(n.Pos, path, "must be a map from name to expression, this is %s", n.Describe())
		return
	}
	if len(n.Entries) > maxLets {
		r.Add(n.Pos, path, "more than %d names", maxLets)
		return
	}
	for _, e := range n.Entries {
		letPath := document.Join(path, e.Key)
		r.checkName(e, letPath)
		if e.Key == "vars" || f.axisNamed(e.Key) {
			r.Add(e.Pos, letPath, "the name is taken: call it something else")
		}
		if r.expression(e.Val, letPath) {
			f.lets = append(f.lets, e)
		}
	}
}

func (f *Family) axisNamed(name string) bool {
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
func (r *reader) checkName(e document.Entry, path string) {
	ok := e.Key != ""
	for i, c := range []byte(e.Key) {
		ok = ok && document.IsWord(c) && (i > 0 || c < '0' || c > '9')
	}
	switch {
	case e.Key == "":
		r.Add(e.Pos, path, "an empty name")
	case !ok || slices.Contains(reserved, e.Key):
		r.Warn(e.Pos, "%s: expressions can't use this name: a letter or _ first, then letters, digits and _, and no reserved word", path)
	}
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
