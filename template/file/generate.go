package file

import (
	"fmt"
	"strings"

	"github.com/slipway-ci/slipway/template"
	"github.com/slipway-ci/slipway/template/file/internal/document"
	"github.com/slipway-ci/slipway/template/file/internal/expr"
	"github.com/slipway-ci/slipway/template/file/internal/matrix"
)

// families reads the section matrix.
func (ld *loader) families(section *document.Node) []*matrix.Family {
	var out []*matrix.Family
	if len(section.Entries) > MaxTemplates {
		ld.doc.Add(section.Pos, "matrix", "more than %d families", MaxTemplates)
		return nil
	}
	for _, e := range section.Entries {
		f := matrix.Read(ld.doc, ld.base, MaxTemplates, e)
		if f.Body != nil {
			good := ld.body(f.Body, document.Join(document.Join("matrix", f.Name), "template"))
			f.Broken = f.Broken || !good
		}
		out = append(out, f)
	}
	return out
}

// withinLimit checks the number of templates before any is made.
func (ld *loader) withinLimit(sections map[string]*document.Node, families []*matrix.Family) bool {
	hand := len(sections["templates"].Entries)
	total := hand
	var shares []string
	for _, f := range families {
		if f.Broken {
			continue
		}
		total += f.Size()
		shares = append(shares, fmt.Sprintf("%s %d", f.Name, f.Size()))
	}
	if total <= MaxTemplates {
		return true
	}
	shares = append(shares, fmt.Sprintf("hand-written %d", hand))
	if more := len(shares) - 50; more > 0 {
		shares = append(shares[:50], fmt.Sprintf("and %d more", more))
	}
	at := sections["templates"].Pos
	if len(families) > 0 {
		at = sections["matrix"].Pos
	}
	ld.doc.Add(at, "", "%d templates, at most %d are allowed (before exclusion): %s", total, MaxTemplates, strings.Join(shares, ", "))
	return false
}

// maxSamples is how many failed variants of a family are told.
const maxSamples = 5

// generator makes the templates of all families.
type generator struct {
	ld        *loader
	defaults  *document.Node
	templates []template.Template
	byKey     map[string][]matrix.Variant
	keys      []string // of byKey, in order
}

func (ld *loader) generate(defaults *document.Node, families []*matrix.Family) []template.Template {
	g := &generator{ld: ld, defaults: defaults, byKey: map[string][]matrix.Variant{}}
	for _, f := range families {
		if !f.Broken {
			g.family(f)
		}
	}
	for _, key := range g.keys {
		if variants := g.byKey[key]; len(variants) > 1 {
			matrix.Clash(key, variants)
		}
	}
	return g.templates
}

// family renders one family. All its expressions are compiled before the first
// variant is.
func (g *generator) family(f *matrix.Family) {
	path := document.Join("matrix", f.Name)
	s, good := f.Open(g.ld.base)
	if s == nil {
		return
	}
	r := g.ld.newRecipe(s, document.Merge(g.defaults, f.Body), document.Join(path, "template"), f.Body.Pos)
	if r == nil || !good {
		return
	}
	variants := f.Variants(s)
	failure := document.Problem{Pos: f.Pos, Path: path, Variants: len(variants)}
	for _, v := range variants {
		problems := g.variant(s, r, v)
		if len(problems) == 0 {
			continue
		}
		if failure.Failed++; len(failure.Samples) < maxSamples {
			failure.Samples = append(failure.Samples, document.Sample{Bindings: v.String(), Problems: problems})
		}
	}
	if failure.Failed > 0 {
		failure.Message = fmt.Sprintf("%d of %d variants failed", failure.Failed, failure.Variants)
		g.ld.doc.Put(failure)
	}
}

// variant renders one variant, or tells why it can't.
func (g *generator) variant(s *expr.Scope, r *recipe, v matrix.Variant) []document.Problem {
	names, key, bad := v.Bind(s)
	if bad != nil {
		return []document.Problem{*bad}
	}
	if g.ld.hand[key] != nil {
		g.ld.doc.Warn(v.Family.Pos, "matrix.%s: the variant %s has the key %s of a hand-written template, which takes its place",
			v.Family.Name, v, document.Quote(key))
		return nil
	}
	if g.byKey[key] == nil {
		g.keys = append(g.keys, key)
	}
	g.byKey[key] = append(g.byKey[key], v)
	t, problems := r.render(names)
	t.Key = key
	g.templates = append(g.templates, t)
	return problems
}
