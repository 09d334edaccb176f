package field

import (
	"fmt"
	"maps"
	"slices"

	"github.com/slipway-ci/slipway/template"
	"github.com/slipway-ci/slipway/template/file/internal/document"
)

// MaxEntries is how many entries a map or list of a template may have.
const MaxEntries = 500

// suspiciousMemory is less than any runner can live in.
const suspiciousMemory = 1 << 20

// Decoder turns nodes into the fields of one template.
type Decoder struct {
	// Doc gets warnings.
	Doc *document.File
	// DefaultImage is the image of a template that names none.
	DefaultImage string
	// Binds are the folders of the host that a mount may bind, cleaned.
	Binds []string
	// MaxName is what the file calls MaxConcurrency.
	MaxName string

	// Problems are what is wrong, with the paths below the template.
	Problems []document.Problem
}

// Fail adds a problem; the path is below the template.
func (d *Decoder) Fail(at document.Pos, path, format string, args ...any) {
	if len(d.Problems) == document.MaxProblems {
		return
	}
	d.Problems = append(d.Problems, document.Problem{Pos: at, Path: path, Message: fmt.Sprintf(format, args...)})
}

// Decode decodes one field and notes its place. Null leaves an optional field out, so that a template
// can take back a default and an expression can give none.
func (d *Decoder) Decode(f *Field, n *document.Node, t *template.Template, given map[string]document.Pos) {
	if n.Kind == document.Null {
		switch {
		case n.Unwritten:
			d.Fail(n.Pos, f.Name, "no value: give one, or write null to leave the field out")
		case f.Required:
			d.Fail(n.Pos, f.Name, "must have a value, this is null")
		}
		return
	}
	given[f.Name] = n.Pos
	f.decode(d, f, n, t)
}

// Finish sets what is left out and checks what goes together.
func (d *Decoder) Finish(t *template.Template, given map[string]document.Pos, at document.Pos) {
	place := func(name string) document.Pos {
		if p, ok := given[name]; ok {
			return p
		}
		return at
	}
	if _, ok := given["image"]; !ok {
		t.Image = d.DefaultImage
	}
	if _, ok := given["no_new_privileges"]; !ok {
		t.AllowNewPrivileges = false
	}
	if len(d.Problems) > 0 {
		return
	}
	if t.TargetConcurrency > t.MaxConcurrency {
		d.Fail(place("target_concurrency"), "target_concurrency", "%d is above %s, which is %d", t.TargetConcurrency, d.MaxName, t.MaxConcurrency)
	}
	if t.MinIdle > t.MaxConcurrency {
		d.Fail(place("min_idle"), "min_idle", "%d is above %s, which is %d", t.MinIdle, d.MaxName, t.MaxConcurrency)
	}
	if t.InjectRunner && len(t.Entrypoint) > 0 {
		d.Fail(place("entrypoint"), "entrypoint", "can't be set with inject_runner, which starts the runner itself")
	}
	if t.InjectRunner && len(t.Command) > 0 {
		d.Fail(place("command"), "command", "can't be set with inject_runner, which starts the runner itself")
	}
	if t.Memory < suspiciousMemory {
		d.Doc.Warn(place("memory"), "memory of %d bytes: is a unit missing?", t.Memory)
	}
	d.targets(t, place)
}

// targets tells two mounts on one path.
func (d *Decoder) targets(t *template.Template, place func(string) document.Pos) {
	taken := map[string]bool{}
	for _, m := range t.Mounts {
		if taken[m.Target] {
			d.Fail(place("mounts"), "mounts", "two mounts on %s", m.Target)
		}
		taken[m.Target] = true
	}
	for _, path := range slices.Sorted(maps.Keys(t.Tmpfs)) {
		if taken[path] {
			d.Fail(place("tmpfs"), "tmpfs", "%s is the target of a mount too", path)
		}
	}
}
