package file

import (
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/template"
	"github.com/slipway-ci/slipway/template/file/internal/document"
	"github.com/slipway-ci/slipway/template/file/internal/field"
)

// scaleSetTop are the keys of a file of scale sets.
var scaleSetTop = []string{"version", "scale_sets"}

// scaleSetReader holds what reading scale sets needs.
type scaleSetReader struct {
	doc  *document.File
	opts Options
}

// readScaleSets decodes the text; root is nil where there is nothing to go on with.
func readScaleSets(data []byte, opts Options) (r *scaleSetReader, root *document.Node, err error) {
	if opts, err = opts.clean(); err != nil {
		return nil, nil, err
	}
	r = &scaleSetReader{doc: document.New(data), opts: opts}
	if len(data) > MaxScaleSetsSize {
		r.doc.Add(document.Pos{}, "", "the file is larger than %d KiB", MaxScaleSetsSize>>10)
		return r, nil, nil
	}
	return r, r.doc.Read("the file is empty: it needs version and scale_sets"), nil
}

// file reads a whole file.
func (r *scaleSetReader) file(root *document.Node) (out []ScaleSet) {
	if root.Kind != document.Map {
		r.doc.Add(root.Pos, "", "the file must be a map with %s; this is %s", strings.Join(scaleSetTop, ", "), root.Kind)
		return nil
	}
	r.doc.UnknownKeys(root, "", "the file", scaleSetTop)
	switch version := root.Get("version"); {
	case version == nil:
		r.doc.Add(root.Pos, "", "version is missing: write version: 1")
	case version.Kind != document.Number || version.Number != 1:
		r.doc.Add(version.Pos, "version", "must be 1, this is %s", version.Describe())
	}
	if root.Get("scale_sets") == nil {
		r.doc.Add(root.Pos, "", "scale_sets is missing: write {} for none")
	}
	section := r.doc.Section(root, "scale_sets")
	if len(section.Entries) > MaxScaleSets {
		r.doc.Add(section.Pos, "scale_sets", "%d scale sets: at most %d are allowed", len(section.Entries), MaxScaleSets)
		return nil
	}
	for _, e := range section.Entries {
		if set := r.scaleSet(e.Key, e.Pos, e.Val, document.Join("scale_sets", e.Key)); set != nil {
			out = append(out, *set)
		}
	}
	return out
}

// scaleSet reads one; nil when something is wrong with it, which is then told.
func (r *scaleSetReader) scaleSet(key string, at document.Pos, n *document.Node, path string) *ScaleSet {
	before := r.doc.Count()
	if problem := CheckScaleSetName(key); problem != "" {
		r.doc.Add(at, path, "%s is not a name of a scale set: %s", document.Quote(key), problem)
	}
	switch {
	case n.Kind != document.Map:
		r.doc.Add(n.Pos, path, "must be a map of the scale set's fields, this is %s", n.Describe())
		return nil
	case !r.plainText(n, path):
		return nil
	}
	placed := &field.Placement{ControlPlane: ControlPlaneQueue, Places: map[string]document.Pos{"": at}}
	d := &field.Decoder{Doc: r.doc, DefaultImage: r.opts.DefaultImage, Binds: r.opts.AllowedBinds, MaxName: "max"}
	given := map[string]document.Pos{}
	table := field.ScaleSet(placed)
	var t template.Template
	for _, e := range n.Entries {
		i := slices.IndexFunc(table, func(f field.Field) bool { return f.Name == e.Key })
		if i < 0 {
			r.doc.Add(e.Pos, path, "unknown field %s%s", document.Quote(e.Key), field.Suggest(table, e.Key))
			continue
		}
		placed.Places[e.Key] = e.Val.Pos
		d.Decode(&table[i], e.Val, &t, given)
	}
	for _, f := range table {
		if f.Required && n.Get(f.Name) == nil && r.doc.Count() == before {
			d.Fail(at, "", "%s is missing", f.Name)
		}
	}
	d.Finish(&t, given, at)
	for _, p := range d.Problems {
		p.Path = strings.Trim(path+"."+p.Path, ".")
		r.doc.Put(p)
	}
	if r.doc.Count() > before {
		return nil
	}
	t.Key = key
	return scaleSetOf(t, placed)
}

func scaleSetOf(t template.Template, p *field.Placement) *ScaleSet {
	places := make(map[string]Place, len(p.Places))
	for field, at := range p.Places {
		places[field] = Place{Line: at.Line, Column: at.Column}
	}
	return &ScaleSet{
		Template: t, Hosts: p.Hosts, Selector: p.Selector, PerHostMax: p.PerHostMax, Isolated: p.Isolated,
		Credential: p.Credential, ControlPlane: p.ControlPlane, MinDiskFree: p.MinDiskFree, Places: places,
	}
}

// plainText refuses expressions, and what no field takes.
func (r *scaleSetReader) plainText(n *document.Node, path string) bool {
	if !small(r.doc, n, path) {
		return false
	}
	good := true
	for _, e := range n.Entries {
		if max(len(e.Val.Entries), len(e.Val.Items)) > field.MaxEntries {
			r.doc.Add(e.Val.Pos, document.Join(path, e.Key), "more than %d entries", field.MaxEntries)
			good = false
		}
		good = r.noExpression(e.Val, document.Join(path, e.Key)) && good
	}
	return good
}

func (r *scaleSetReader) noExpression(n *document.Node, path string) bool {
	good := true
	if n.Kind == document.Text && strings.Contains(n.Text, document.OpenMark) {
		r.doc.Add(n.Pos, path, "has an expression, and scale sets evaluate none: render the value first")
		good = false
	}
	for _, item := range n.Items {
		good = r.noExpression(item, path) && good
	}
	for _, e := range n.Entries {
		good = r.noExpression(e.Val, document.Join(path, e.Key)) && good
	}
	return good
}
