package field

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/template"
	"github.com/slipway-ci/slipway/template/file/internal/document"
)

var (
	mountKeys  = []string{"volume", "bind", "target", "read_only"}
	volumeName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)
)

func decodeMounts(d *Decoder, f *Field, n *document.Node, t *template.Template) {
	if n.Kind != document.List {
		d.want(f, n, "a list of mounts")
		return
	}
	var out []template.Mount
	for _, item := range n.Items {
		if item.Kind != document.Map {
			d.want(f, item, "a map with volume or bind, and target")
			continue
		}
		if m, ok := d.mount(f.Name, item); ok {
			out = append(out, m)
		}
	}
	t.Mounts = out
}

func (d *Decoder) mount(path string, n *document.Node) (template.Mount, bool) {
	before := len(d.Problems)
	var m template.Mount
	for _, e := range n.Entries {
		if !slices.Contains(mountKeys, e.Key) {
			d.Fail(e.Pos, path, "unknown key %s in a mount%s", document.Quote(e.Key), d.Doc.Hint(e.Key, mountKeys))
			continue
		}
		if e.Key == "read_only" {
			if e.Val.Kind != document.Bool {
				d.Fail(e.Val.Pos, document.Join(path, e.Key), "must be true or false, this is %s", e.Val.Describe())
			}
			m.ReadOnly = e.Val.Flag
			continue
		}
		if e.Val.Kind != document.Text || strings.TrimSpace(e.Val.Text) == "" {
			d.Fail(e.Val.Pos, document.Join(path, e.Key), "must be text, this is %s", e.Val.Describe())
			continue
		}
		switch e.Key {
		case "volume":
			m.Volume = e.Val.Text
			if !volumeName.MatchString(m.Volume) || len(m.Volume) > 255 {
				d.Fail(e.Val.Pos, document.Join(path, e.Key), "%s is not a volume's name: letters, digits, . _ and -, the first a letter or a digit; a folder of the host is a bind", document.Quote(m.Volume))
			}
		case "bind":
			m.Bind = d.bind(e.Val, document.Join(path, e.Key))
		case "target":
			m.Target, _ = d.target(e.Val.Pos, document.Join(path, e.Key), e.Val.Text)
		}
	}
	if len(d.Problems) > before {
		return m, false
	}
	switch {
	case m.Target == "":
		d.Fail(n.Pos, path, "a mount needs a target")
	case (m.Volume == "") == (m.Bind == ""):
		d.Fail(n.Pos, path, "a mount needs either a volume or a bind")
	}
	return m, len(d.Problems) == before
}

// bind checks a folder of the host against what the operator allows.
func (d *Decoder) bind(n *document.Node, field string) string {
	if !path.IsAbs(n.Text) || strings.ContainsFunc(n.Text, document.IsControl) {
		d.Fail(n.Pos, field, "must be an absolute path, this is %s", document.Quote(n.Text))
		return ""
	}
	clean := path.Clean(n.Text)
	for _, allowed := range d.Binds {
		if allowed == "/" || clean == allowed || strings.HasPrefix(clean, allowed+"/") {
			return clean
		}
	}
	if len(d.Binds) == 0 {
		d.Fail(n.Pos, field, "%s is a folder of the host, and no such mount is allowed here: the operator allows it by naming it, or a folder above it, among the allowed binds", document.Quote(clean))
		return ""
	}
	d.Fail(n.Pos, field, "%s is not under a folder that the operator allows (%s): add it to the allowed binds, or use one of these", document.Quote(clean), strings.Join(d.Binds, ", "))
	return ""
}

// target checks a path inside the runner.
func (d *Decoder) target(at document.Pos, field, s string) (string, bool) {
	clean := path.Clean(s)
	if !path.IsAbs(s) || clean == "/" || strings.ContainsFunc(s, document.IsControl) {
		d.Fail(at, field, "must be an absolute path below /, this is %s", document.Quote(s))
		return "", false
	}
	return clean, true
}
