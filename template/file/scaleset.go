package file

import (
	"fmt"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/template"
)

// Limits of a file of scale sets.
const (
	// MaxScaleSets is how many it may have.
	MaxScaleSets = 1000
	// MaxScaleSetsSize is its size in bytes.
	MaxScaleSetsSize = 4 << 20
)

// The runtimes and the control planes of scale sets.
const (
	RuntimeShared       = "shared"
	RuntimeIsolated     = "isolated"
	ControlPlaneQueue   = "queue"
	ControlPlaneShipfox = "shipfox"
)

// ScaleSet is a scale set as it is written: a template, and where its runners may
// live. Its MaxConcurrency is the field max.
type ScaleSet struct {
	template.Template
	// Hosts are names of hosts as they are written, sorted, each once.
	Hosts []string
	// Selector asks for labels of hosts.
	Selector map[string]string
	// PerHostMax bounds its runners on one host; 0: nothing does.
	PerHostMax int
	// Isolated asks for a runtime that isolates.
	Isolated bool
	// Credential is the name of a registry credential, or empty.
	Credential string
	// ControlPlane is one of the constants.
	ControlPlane string
	// MinDiskFree is in bytes; 0: no floor.
	MinDiskFree int64

	// Places say where the parts are: fields by name, a host by hosts and its name
	// with a dot between, and the whole by the empty name.
	Places map[string]Place
}

// Place is a place in a file, both numbers from 1.
type Place struct{ Line, Column int }

func (p pos) place() Place { return Place{Line: p.line, Column: p.column} }

// Problem is one at the place of a field, whose name may be empty or have a part
// after a dot.
func (s *ScaleSet) Problem(field, format string, args ...any) Problem {
	p, ok := s.Places[field]
	if name, _, cut := strings.Cut(field, "."); !ok && cut {
		p, ok = s.Places[name]
	}
	if !ok {
		p = s.Places[""]
	}
	return Problem{Line: p.Line, Column: p.Column, Path: field, Message: fmt.Sprintf(format, args...)}
}

// ScaleSets are those of a file.
type ScaleSets struct {
	// Sets in the order of the file; may be none.
	Sets []ScaleSet
	// Warnings are about what is allowed and probably not meant.
	Warnings []Warning
}

// ParseScaleSets reads a file of scale sets: version: 1, and scale_sets by name. The
// rules of templates hold, but nothing is evaluated. The name goes into errors. An
// error of the content is *Error and holds all that is wrong.
func ParseScaleSets(name string, data []byte, opts Options) (*ScaleSets, error) {
	ld, root, err := scaleSetLoader(name, data, opts)
	if err != nil {
		return nil, err
	}
	out := &ScaleSets{}
	if root != nil {
		out.Sets = ld.scaleSets(root)
	}
	if err := ld.problems.err(); err != nil {
		return nil, err
	}
	out.Warnings = ld.problems.warnings
	return out, nil
}

// ParseScaleSet reads the fields of one scale set with this key, in YAML or JSON.
// An error of the content is *Error and holds all that is wrong.
func ParseScaleSet(name, key string, data []byte, opts Options) (*ScaleSet, error) {
	ld, root, err := scaleSetLoader(name, data, opts)
	if err != nil {
		return nil, err
	}
	var out *ScaleSet
	if root != nil {
		out = ld.scaleSet(key, root.pos, root, "")
	}
	if err := ld.problems.err(); err != nil {
		return nil, err
	}
	return out, nil
}

// scaleSetLoader decodes the text; root is nil where there is nothing to go on with.
func scaleSetLoader(name string, data []byte, opts Options) (ld *loader, root *node, err error) {
	binds, err := cleanBinds(opts.AllowedBinds)
	if err != nil {
		return nil, nil, err
	}
	ld = newLoader(name, data, opts.DefaultImage, binds)
	ld.maxName = "max"
	if len(data) > MaxScaleSetsSize {
		ld.problems.add(pos{}, "", "the file is larger than %d KiB", MaxScaleSetsSize>>10)
		return ld, nil, nil
	}
	dec := &decoder{problems: ld.problems, source: ld.source, empty: "the file is empty: it needs version and scale_sets"}
	if root = dec.decode(data); dec.stopped {
		root = nil
	}
	return ld, root, nil
}

// scaleSetTop are the keys of a file of scale sets.
var scaleSetTop = []string{"version", "scale_sets"}

func (ld *loader) scaleSets(root *node) (out []ScaleSet) {
	if root.kind != kindMap {
		ld.problems.add(root.pos, "", "the file must be a map with %s; this is %s", strings.Join(scaleSetTop, ", "), root.kind)
		return nil
	}
	ld.unknownKeys(root, "", "the file", scaleSetTop)
	switch version := root.get("version"); {
	case version == nil:
		ld.problems.add(root.pos, "", "version is missing: write version: 1")
	case version.kind != kindNumber || version.number != 1:
		ld.problems.add(version.pos, "version", "must be 1, this is %s", version.describe())
	}
	if root.get("scale_sets") == nil {
		ld.problems.add(root.pos, "", "scale_sets is missing: write {} for none")
	}
	section := ld.section(root, "scale_sets")
	if len(section.entries) > MaxScaleSets {
		ld.problems.add(section.pos, "scale_sets", "%d scale sets: at most %d are allowed", len(section.entries), MaxScaleSets)
		return nil
	}
	for _, e := range section.entries {
		if set := ld.scaleSet(e.key, e.pos, e.val, join("scale_sets", e.key)); set != nil {
			out = append(out, *set)
		}
	}
	return out
}

// CheckName says what is wrong with a name, of a scale set or of a credential, if
// anything.
func CheckName(name string) string {
	if len(name) >= 1 && len(name) <= 63 && name[0] != '-' && name[len(name)-1] != '-' &&
		strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == "" {
		return ""
	}
	return "1 to 63 characters of a-z, 0-9 and - are allowed, with no - at either end"
}

// CheckScaleSetName says what is wrong with the name of a scale set, if anything.
func CheckScaleSetName(name string) string {
	if name == "apply" || name == "export" {
		return "the API has a route of that name; choose another one"
	}
	return CheckName(name)
}

// Suggest is "; did you mean x?" for the known word that is nearest to a wrong one,
// or nothing where none is near.
func Suggest(word string, known []string) string { return didYouMean(word, known) }

// scaleSet reads one; nil when something is wrong with it, which is then told.
func (ld *loader) scaleSet(key string, at pos, n *node, path string) *ScaleSet {
	before := ld.problems.count()
	if problem := CheckScaleSetName(key); problem != "" {
		ld.problems.add(at, path, "%s is not a name of a scale set: %s", quote(key), problem)
	}
	switch {
	case n.kind != kindMap:
		ld.problems.add(n.pos, path, "must be a map of the scale set's fields, this is %s", n.describe())
		return nil
	case !ld.plainText(n, path):
		return nil
	}
	set := &ScaleSet{ControlPlane: ControlPlaneQueue, Places: map[string]Place{"": at.place()}}
	d := &fieldDecoder{ld: ld}
	given := map[string]pos{}
	table := scaleSetFields(set)
	for _, e := range n.entries {
		i := slices.IndexFunc(table, func(f field) bool { return f.name == e.key })
		if i < 0 {
			ld.problems.add(e.pos, path, "unknown field %s%s", quote(e.key), suggestOf(table, e.key))
			continue
		}
		set.Places[e.key] = e.val.pos.place()
		d.field(&table[i], e.val, &set.Template, given)
	}
	for _, f := range table {
		if f.required && n.get(f.name) == nil && ld.problems.count() == before {
			d.fail(at, "", "%s is missing", f.name)
		}
	}
	d.finish(&set.Template, given, at)
	for _, p := range d.problems {
		p.Path = strings.Trim(path+"."+p.Path, ".")
		ld.problems.put(p)
	}
	if ld.problems.count() > before {
		return nil
	}
	set.Key = key
	return set
}

// plainText refuses expressions, and what no field takes.
func (ld *loader) plainText(n *node, path string) bool {
	if values, text := n.measure(); values > maxBodyValues || text > maxBodyText {
		ld.problems.add(n.pos, path, "too large: at most %d values and %d KiB of text are allowed", maxBodyValues, maxBodyText>>10)
		return false
	}
	good := true
	for _, e := range n.entries {
		if max(len(e.val.entries), len(e.val.items)) > maxEntries {
			ld.problems.add(e.val.pos, join(path, e.key), "more than %d entries", maxEntries)
			good = false
		}
		good = ld.noExpression(e.val, join(path, e.key)) && good
	}
	return good
}

func (ld *loader) noExpression(n *node, path string) bool {
	good := true
	if n.kind == kindText && strings.Contains(n.text, openMark) {
		ld.problems.add(n.pos, path, "has an expression, and scale sets evaluate none: render the value first")
		good = false
	}
	for _, item := range n.items {
		good = ld.noExpression(item, path) && good
	}
	for _, e := range n.entries {
		good = ld.noExpression(e.val, join(path, e.key)) && good
	}
	return good
}

// ScaleSetSchema is the JSON Schema (draft 2020-12) of a file of scale sets, for
// editors. It is made from the table of fields.
func ScaleSetSchema() []byte {
	properties, required := schema{}, []string{}
	for _, f := range scaleSetFields(&ScaleSet{}) {
		properties[f.name] = schema{"description": describeField(f), "anyOf": []schema{f.schema, {"type": "null"}}}
		if f.required {
			required = append(required, f.name)
		}
	}
	slices.Sort(required)
	return encodeSchema(schema{
		"$schema":     "https://json-schema.org/draft/2020-12/schema",
		"title":       "Slipway scale sets",
		"description": "What slipway scale-sets apply takes and export gives.",
		"type":        "object", "additionalProperties": false,
		"required": scaleSetTop,
		"properties": schema{
			"version": schema{"const": 1},
			"scale_sets": schema{
				"description": "Scale sets by name.", "type": "object",
				"propertyNames":        schema{"pattern": `^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`},
				"additionalProperties": schema{"$ref": "#/$defs/scale_set"},
			},
		},
		"$defs": schema{"scale_set": schema{"type": "object", "additionalProperties": false, "required": required, "properties": properties}},
	})
}
