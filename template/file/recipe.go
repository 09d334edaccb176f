package file

import (
	"fmt"
	"maps"
	"slices"

	"github.com/slipway-ci/slipway/template"
)

// maxEntries is how many entries a map or list of a template may have.
const maxEntries = 500

// suspiciousMemory is less than any runner can live in.
const suspiciousMemory = 1 << 20

// recipe is a template's body with the defaults under it, ready to be rendered
// once for a hand-written template and for each variant of a family. What holds
// no expression is decoded once.
type recipe struct {
	ld      *loader
	scope   *scope
	pos     pos
	fixed   template.Template
	given   map[string]pos // the fixed fields that are there
	dynamic []entry
}

// newRecipe checks and compiles a body; nil when something is wrong with it,
// which is then told.
func (ld *loader) newRecipe(s *scope, body *node, path string, at pos) *recipe {
	r := &recipe{ld: ld, scope: s, pos: at, given: map[string]pos{}}
	before := ld.problems.count()
	broken, misspelt := false, false
	for _, e := range body.entries {
		f := fieldNamed(e.key)
		switch {
		case f == nil:
			broken, misspelt = true, true // told by checkFields
		case e.val.bad:
			broken = true
		case e.val.dynamic:
			broken = !ld.compile(s, e.val, join(path, e.key)) || broken
			r.dynamic = append(r.dynamic, e)
		default:
			d := &fieldDecoder{ld: ld}
			d.field(f, e.val, &r.fixed, r.given)
			for _, p := range d.problems {
				p.Path = path + "." + p.Path
				ld.problems.put(p)
			}
		}
	}
	for i := range fields {
		f := &fields[i]
		if n := body.get(f.name); f.required && n == nil && !misspelt {
			ld.problems.add(at, path, "%s is missing: give it here or in defaults", f.name)
		}
	}
	if broken || ld.problems.count() > before {
		return nil
	}
	return r
}

// render makes the template; its key is the caller's to set.
func (r *recipe) render(vars map[string]any) (template.Template, []Problem) {
	t := r.fixed
	given := maps.Clone(r.given)
	d := &fieldDecoder{ld: r.ld}
	for _, e := range r.dynamic {
		n, problems := r.ld.static(r.scope, e.val, vars, e.key)
		if len(problems) > 0 {
			d.problems = append(d.problems, problems...)
			given[e.key] = e.val.pos // no "missing" on top
			continue
		}
		d.field(fieldNamed(e.key), n, &t, given)
	}
	d.finish(&t, given, r.pos)
	return t, d.problems
}

// fieldDecoder turns nodes into the fields of one template.
type fieldDecoder struct {
	ld       *loader
	problems []Problem
}

func (d *fieldDecoder) fail(at pos, path, format string, args ...any) {
	if len(d.problems) == maxProblems {
		return
	}
	d.problems = append(d.problems, Problem{Line: at.line, Column: at.column, Path: path, Message: fmt.Sprintf(format, args...)})
}

// field decodes one field. Null leaves an optional field out, so that a template
// can take back a default and an expression can give none.
func (d *fieldDecoder) field(f *field, n *node, t *template.Template, given map[string]pos) {
	if n.kind == kindNull {
		switch {
		case n.unwritten:
			d.fail(n.pos, f.name, "no value: give one, or write null to leave the field out")
		case f.required:
			d.fail(n.pos, f.name, "must have a value, this is null")
		}
		return
	}
	given[f.name] = n.pos
	f.decode(d, f, n, t)
}

// finish sets what is left out and checks what goes together.
func (d *fieldDecoder) finish(t *template.Template, given map[string]pos, at pos) {
	place := func(name string) pos {
		if p, ok := given[name]; ok {
			return p
		}
		return at
	}
	if _, ok := given["image"]; !ok {
		t.Image = d.ld.defaultImage
	}
	if _, ok := given["no_new_privileges"]; !ok {
		t.AllowNewPrivileges = false
	}
	if len(d.problems) > 0 {
		return
	}
	if t.TargetConcurrency > t.MaxConcurrency {
		d.fail(place("target_concurrency"), "target_concurrency", "%d is above %s, which is %d", t.TargetConcurrency, d.ld.maxName, t.MaxConcurrency)
	}
	if t.MinIdle > t.MaxConcurrency {
		d.fail(place("min_idle"), "min_idle", "%d is above %s, which is %d", t.MinIdle, d.ld.maxName, t.MaxConcurrency)
	}
	if t.InjectRunner && len(t.Entrypoint) > 0 {
		d.fail(place("entrypoint"), "entrypoint", "can't be set with inject_runner, which starts the runner itself")
	}
	if t.InjectRunner && len(t.Command) > 0 {
		d.fail(place("command"), "command", "can't be set with inject_runner, which starts the runner itself")
	}
	if t.Memory < suspiciousMemory {
		d.ld.problems.warn(place("memory"), "memory of %d bytes: is a unit missing?", t.Memory)
	}
	d.targets(t, place)
}

// targets tells two mounts on one path.
func (d *fieldDecoder) targets(t *template.Template, place func(string) pos) {
	taken := map[string]bool{}
	for _, m := range t.Mounts {
		if taken[m.Target] {
			d.fail(place("mounts"), "mounts", "two mounts on %s", m.Target)
		}
		taken[m.Target] = true
	}
	for _, path := range slices.Sorted(maps.Keys(t.Tmpfs)) {
		if taken[path] {
			d.fail(place("tmpfs"), "tmpfs", "%s is the target of a mount too", path)
		}
	}
}
