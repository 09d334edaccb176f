package file

import (
	"strings"

	"github.com/slipway-ci/slipway/template"
	"github.com/slipway-ci/slipway/template/file/internal/document"
	"github.com/slipway-ci/slipway/template/file/internal/expr"
	"github.com/slipway-ci/slipway/template/file/internal/field"
	"github.com/slipway-ci/slipway/template/file/internal/matrix"
)

// topLevel are the keys of the file.
var topLevel = []string{"templates", "vars", "defaults", "matrix"}

const (
	// maxBodyValues and maxBodyText bound the body of a template, and the
	// defaults: they may be merged a thousand times.
	maxBodyValues = 5000
	maxBodyText   = 256 << 10
)

// load reads the whole file and collects every problem on the way; what depends
// on a part that is broken is left out.
func (ld *loader) load() []template.Template {
	if ld.size > MaxSize {
		ld.doc.Add(document.Pos{}, "", "the file is larger than %d KiB", MaxSize>>10)
		return nil
	}
	root := ld.doc.Read("the file is empty: it needs templates or a matrix")
	if root == nil {
		return nil
	}
	if root.Kind != document.Map {
		ld.doc.Add(root.Pos, "", "the file must be a map with %s; this is %s", strings.Join(topLevel, ", "), root.Kind)
		return nil
	}
	ld.doc.UnknownKeys(root, "", "the file", topLevel)
	sections := map[string]*document.Node{}
	for _, name := range topLevel {
		sections[name] = ld.doc.Section(root, name)
	}
	ld.checkVars(sections["vars"])
	var err error
	if ld.base, err = expr.New(ld.doc, sections["vars"]); err != nil {
		ld.doc.Add(document.Pos{}, "", "%v", err)
		return nil
	}
	return ld.render(sections)
}

func (ld *loader) render(sections map[string]*document.Node) []template.Template {
	defaults := sections["defaults"]
	ld.doc.Prepare(defaults, "defaults")
	if !ld.checkFields(defaults, "defaults") {
		defaults = nil
	}
	hand := ld.handWritten(defaults, sections["templates"])
	families := ld.families(sections["matrix"])
	if !ld.withinLimit(sections, families) {
		return nil
	}
	generated := ld.generate(defaults, families)
	all := append(hand, generated...)
	if len(all) == 0 && ld.doc.Count() == 0 {
		ld.doc.Add(document.Pos{}, "", "no templates: the file renders none")
	}
	return all
}

// checkVars warns of expressions in vars: they are data.
func (ld *loader) checkVars(n *document.Node) {
	if ld.doc.Warned() {
		return
	}
	if n.Kind == document.Text && strings.Contains(n.Text, document.OpenMark) {
		at, _ := ld.doc.Opener(n, 0)
		ld.doc.Warn(at, "vars are data: the expression in this text is not evaluated")
	}
	for _, item := range n.Items {
		ld.checkVars(item)
	}
	for _, e := range n.Entries {
		ld.checkVars(e.Val)
	}
}

// handWritten renders the section templates.
func (ld *loader) handWritten(defaults, section *document.Node) []template.Template {
	var out []template.Template
	if len(section.Entries) > MaxTemplates {
		return nil // withinLimit tells
	}
	for _, e := range section.Entries {
		path := document.Join("templates", e.Key)
		ld.hand[e.Key] = e.Val
		if problem := matrix.CheckKey(e.Key); problem != "" {
			ld.doc.Add(e.Pos, path, "%s", problem)
			continue
		}
		if !ld.body(e.Val, path) {
			continue
		}
		r := ld.newRecipe(ld.base, document.Merge(defaults, e.Val), path, e.Pos)
		if r == nil {
			continue
		}
		t, problems := r.render(ld.base.Vars())
		for _, p := range problems {
			p.Path = path + "." + p.Path
			ld.doc.Put(p)
		}
		t.Key = e.Key
		out = append(out, t)
	}
	return out
}

// body checks and prepares the body of a template, and reports whether it can be gone
// on with.
func (ld *loader) body(n *document.Node, path string) bool {
	if n.Kind == document.Null && n.Unwritten {
		ld.doc.Add(n.Pos, path, "no value: write {} where the defaults say it all")
		return false
	}
	if n.Kind != document.Map {
		ld.doc.Add(n.Pos, path, "must be a map of the template's fields, this is %s", n.Describe())
		return false
	}
	ld.doc.Prepare(n, path)
	return ld.checkFields(n, path)
}

// checkFields tells unknown fields of a template. It reports whether the body can
// be gone on with: no map in it is too large to be merged a thousand times.
func (ld *loader) checkFields(n *document.Node, path string) bool {
	if !small(ld.doc, n, path) {
		return false
	}
	good := true
	for _, e := range n.Entries {
		if field.Named(e.Key) == nil {
			hint := ""
			if !ld.doc.Full() {
				hint = field.Suggest(field.Template(), e.Key)
			}
			ld.doc.Add(e.Pos, path, "unknown field %s%s", document.Quote(e.Key), hint)
		}
		if max(len(e.Val.Entries), len(e.Val.Items)) > field.MaxEntries {
			good = false
			ld.doc.Add(e.Val.Pos, document.Join(path, e.Key), "more than %d entries", field.MaxEntries)
		}
	}
	return good
}

// small tells a body that is too large to be gone on with.
func small(doc *document.File, n *document.Node, path string) bool {
	values, text := n.Measure()
	if values <= maxBodyValues && text <= maxBodyText {
		return true
	}
	doc.Add(n.Pos, path, "too large: at most %d values and %d KiB of text are allowed", maxBodyValues, maxBodyText>>10)
	return false
}
