package file

import (
	"fmt"
	"maps"
	"strings"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"github.com/slipway-ci/slipway/template"
)

// maxSamples is how many failed variants of a family are told.
const maxSamples = 5

// variant is one template to be generated.
type variant struct {
	family *family
	values []ref.Val
}

// bindings tells a variant's axes: os=linux, cpu=2.
func (v variant) bindings() string {
	parts := make([]string, len(v.values))
	for i, val := range v.values {
		parts[i] = v.family.axes[i].name + "=" + bindingText(val)
	}
	return strings.Join(parts, ", ")
}

func bindingText(v ref.Val) string {
	if s, ok := v.(types.String); ok {
		return shorten(string(s))
	}
	return tell(v)
}

// generator makes the templates of all families.
type generator struct {
	ld        *loader
	base      *scope
	vars      map[string]any
	defaults  *node
	templates []template.Template
	byKey     map[string][]variant
	keys      []string // of byKey, in order
}

func (ld *loader) generate(base *scope, vars map[string]any, defaults *node, families []*family) []template.Template {
	g := &generator{ld: ld, base: base, vars: vars, defaults: defaults, byKey: map[string][]variant{}}
	for _, f := range families {
		if !f.broken {
			g.family(f)
		}
	}
	for _, key := range g.keys {
		g.duplicates(key, g.byKey[key])
	}
	return g.templates
}

// family renders one family. All its expressions are compiled before the first
// variant is.
func (g *generator) family(f *family) {
	path := join("matrix", f.name)
	names := make([]string, 0, len(f.axes)+len(f.lets))
	for _, a := range f.axes {
		names = append(names, a.name)
	}
	for _, let := range f.lets {
		names = append(names, let.key)
	}
	s, err := g.base.extend(names)
	if err != nil {
		g.ld.problems.add(f.pos, path, "%v", err)
		return
	}
	good := true
	for _, let := range f.lets {
		good = g.ld.compile(s, let.val, join(join(path, "let"), let.key)) && good
	}
	if f.key != nil {
		good = g.ld.compile(s, f.key, join(path, "key")) && good
	}
	r := g.ld.newRecipe(s, merge(g.defaults, f.tmpl), join(path, "template"), f.tmpl.pos)
	if r == nil || !good {
		return
	}
	variants := f.variants(g.ld)
	failure := Problem{Line: f.pos.line, Column: f.pos.column, Path: path, Variants: len(variants)}
	for _, v := range variants {
		problems := g.variant(s, r, v)
		if len(problems) == 0 {
			continue
		}
		if failure.Failed++; len(failure.Samples) < maxSamples {
			failure.Samples = append(failure.Samples, Sample{Bindings: v.bindings(), Problems: problems})
		}
	}
	if failure.Failed > 0 {
		failure.Message = fmt.Sprintf("%d of %d variants failed", failure.Failed, failure.Variants)
		g.ld.problems.put(failure)
	}
}

// variants are the product without what is excluded, then the include list.
func (f *family) variants(ld *loader) []variant {
	var out []variant
	index := make([]int, len(f.axes))
	for {
		values := make([]ref.Val, len(f.axes))
		for i, a := range f.axes {
			values[i] = a.values[index[i]]
		}
		if !f.excluded(ld.eval, values) {
			out = append(out, variant{f, values})
		}
		i := len(index) - 1
		for ; i >= 0; i-- { // the last axis runs fastest
			if index[i]++; index[i] < len(f.axes[i].values) {
				break
			}
			index[i] = 0
		}
		if i < 0 {
			break
		}
	}
	if ld.eval.cost > maxFileCost {
		ld.problems.add(f.pos, join("matrix", f.name), "comparing the variants with exclude costs too much")
		return nil
	}
	for i := range f.exclude {
		if b := &f.exclude[i]; !b.used {
			ld.problems.warn(b.pos, "matrix.%s: this exclusion matches no variant", f.name)
		}
	}
	for _, b := range f.include {
		out = append(out, variant{f, b.values})
	}
	return out
}

func (f *family) excluded(ev *evaluator, values []ref.Val) bool {
	out := false
	for i := range f.exclude {
		b := &f.exclude[i]
		if ev.cost += uint64(b.weight) / 4; ev.cost > maxFileCost {
			return false // variants tells
		}
		if b.matches(values) {
			b.used, out = true, true
		}
	}
	return out
}

// variant renders one variant, or tells why it can't.
func (g *generator) variant(s *scope, r *recipe, v variant) []Problem {
	vars := maps.Clone(g.vars)
	for i, a := range v.family.axes {
		vars[a.name] = v.values[i]
	}
	for _, let := range v.family.lets {
		val, problem := g.ld.value(s, let.val, vars)
		if problem != nil {
			problem.Path = join("let", let.key)
			return []Problem{*problem}
		}
		vars[let.key] = val
	}
	key, problem := g.key(s, v, vars)
	if problem != nil {
		problem.Path = "key"
		return []Problem{*problem}
	}
	if g.ld.hand[key] != nil {
		g.ld.problems.warn(v.family.pos, "matrix.%s: the variant %s has the key %s of a hand-written template, which takes its place",
			v.family.name, v.bindings(), quote(key))
		return nil
	}
	if g.byKey[key] == nil {
		g.keys = append(g.keys, key)
	}
	g.byKey[key] = append(g.byKey[key], v)
	t, problems := r.render(vars)
	t.Key = key
	g.templates = append(g.templates, t)
	return problems
}

func (g *generator) key(s *scope, v variant, vars map[string]any) (string, *Problem) {
	f := v.family
	fail := func(format string, args ...any) *Problem {
		return &Problem{Line: f.keyPos.line, Column: f.keyPos.column, Message: fmt.Sprintf(format, args...)}
	}
	if f.key == nil {
		key, err := v.defaultKey()
		if err != nil {
			return "", fail("%v: give the family a key", err)
		}
		if problem := checkKey(key); problem != "" {
			return "", fail("%s", problem)
		}
		return key, nil
	}
	val, problem := g.ld.value(s, f.key, vars)
	if problem != nil {
		return "", problem
	}
	switch val.(type) {
	case types.Null, traits.Mapper, traits.Lister:
		return "", fail("must give text, this is %s", tell(val))
	}
	key, err := textOf(val)
	if err != nil {
		return "", fail("%v", err)
	}
	if problem := checkKey(key); problem != "" {
		return "", fail("%s: %s", problem, quote(key))
	}
	return key, nil
}

var escapeKey = strings.NewReplacer("%", "%25", "-", "%2D")

// defaultKey joins the family's name and the values with "-", which is escaped
// inside of them.
func (v variant) defaultKey() (string, error) {
	parts := []string{escapeKey.Replace(v.family.name)}
	for i, val := range v.values {
		text, err := keyPart(val)
		if err != nil {
			return "", fmt.Errorf("axis %s: %w", v.family.axes[i].name, err)
		}
		parts = append(parts, escapeKey.Replace(text))
	}
	return strings.Join(parts, "-"), nil
}

func keyPart(val ref.Val) (string, error) {
	if m, ok := val.(traits.Mapper); ok {
		name, ok := m.Find(types.String("name"))
		if !ok {
			return "", fmt.Errorf("a map without a name can't be part of a key")
		}
		if name == types.NullValue {
			return "", fmt.Errorf("a map whose name is null can't be part of a key")
		}
		if _, ok := name.(traits.Mapper); ok {
			return "", fmt.Errorf("a map whose name is a map can't be part of a key")
		}
		val = name
	}
	if _, ok := val.(traits.Lister); ok {
		return "", fmt.Errorf("a list can't be part of a key")
	}
	return textOf(val)
}

// duplicates tells which variants have one key, and the axes in which they differ.
func (g *generator) duplicates(key string, variants []variant) {
	if len(variants) < 2 {
		return
	}
	a, b := variants[0], variants[1]
	message := fmt.Sprintf("two generated templates with the key %s: matrix.%s (%s) and matrix.%s (%s)",
		quote(key), a.family.name, a.bindings(), b.family.name, b.bindings())
	if a.family == b.family {
		var differ []string
		for i, axis := range a.family.axes {
			if types.Equal(a.values[i], b.values[i]) != types.True {
				differ = append(differ, axis.name)
			}
		}
		if differ == nil {
			message += "; their axes are the same"
		} else {
			message += "; they differ in " + strings.Join(differ, ", ")
		}
	}
	if more := len(variants) - 2; more > 0 {
		message += fmt.Sprintf("; %d more have it too", more)
	}
	g.ld.problems.add(b.family.keyPos, "", "%s", message)
}
