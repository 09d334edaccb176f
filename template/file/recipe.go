package file

import (
	"maps"

	"github.com/slipway-ci/slipway/template"
	"github.com/slipway-ci/slipway/template/file/internal/document"
	"github.com/slipway-ci/slipway/template/file/internal/expr"
	"github.com/slipway-ci/slipway/template/file/internal/field"
)

// recipe is a template's body with the defaults under it, ready to be rendered
// once for a hand-written template and for each variant of a family. What holds
// no expression is decoded once.
type recipe struct {
	ld      *loader
	scope   *expr.Scope
	pos     document.Pos
	fixed   template.Template
	given   map[string]document.Pos // the fixed fields that are there
	dynamic []document.Entry
}

// newRecipe checks and compiles a body; nil when something is wrong with it,
// which is then told.
func (ld *loader) newRecipe(s *expr.Scope, body *document.Node, path string, at document.Pos) *recipe {
	r := &recipe{ld: ld, scope: s, pos: at, given: map[string]document.Pos{}}
	before := ld.doc.Count()
	broken, misspelt := false, false
	for _, e := range body.Entries {
		f := field.Named(e.Key)
		switch {
		case f == nil:
			broken, misspelt = true, true // told by checkFields
		case e.Val.Bad:
			broken = true
		case e.Val.Dynamic:
			broken = !s.Compile(e.Val, document.Join(path, e.Key)) || broken
			r.dynamic = append(r.dynamic, e)
		default:
			d := ld.decoder()
			d.Decode(f, e.Val, &r.fixed, r.given)
			for _, p := range d.Problems {
				p.Path = path + "." + p.Path
				ld.doc.Put(p)
			}
		}
	}
	for _, f := range field.Template() {
		if n := body.Get(f.Name); f.Required && n == nil && !misspelt {
			ld.doc.Add(at, path, "%s is missing: give it here or in defaults", f.Name)
		}
	}
	if broken || ld.doc.Count() > before {
		return nil
	}
	return r
}

// render makes the template; its key is the caller's to set.
func (r *recipe) render(vars map[string]any) (template.Template, []document.Problem) {
	t := r.fixed
	given := maps.Clone(r.given)
	d := r.ld.decoder()
	for _, e := range r.dynamic {
		n, problems := r.scope.Static(e.Val, vars, e.Key)
		if len(problems) > 0 {
			d.Problems = append(d.Problems, problems...)
			given[e.Key] = e.Val.Pos // no "missing" on top
			continue
		}
		d.Decode(field.Named(e.Key), n, &t, given)
	}
	d.Finish(&t, given, r.pos)
	return t, d.Problems
}
