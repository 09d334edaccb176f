package file

import (
	"path"
	"regexp"
	"strings"

	"github.com/slipway-ci/slipway/template"
)

var (
	mountKeys  = []string{"volume", "bind", "target", "read_only"}
	volumeName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)
)

func decodeMounts(d *fieldDecoder, f *field, n *node, t *template.Template) {
	if n.kind != kindList {
		d.want(f, n, "a list of mounts")
		return
	}
	var out []template.Mount
	for _, item := range n.items {
		if item.kind != kindMap {
			d.want(f, item, "a map with volume or bind, and target")
			continue
		}
		if m, ok := d.mount(f.name, item); ok {
			out = append(out, m)
		}
	}
	t.Mounts = out
}

func (d *fieldDecoder) mount(path string, n *node) (template.Mount, bool) {
	before := len(d.problems)
	var m template.Mount
	for _, e := range n.entries {
		if !contains(mountKeys, e.key) {
			d.fail(e.pos, path, "unknown key %s in a mount%s", quote(e.key), d.ld.problems.hint(e.key, mountKeys))
			continue
		}
		if e.key == "read_only" {
			if e.val.kind != kindBool {
				d.fail(e.val.pos, join(path, e.key), "must be true or false, this is %s", e.val.describe())
			}
			m.ReadOnly = e.val.flag
			continue
		}
		if e.val.kind != kindText || strings.TrimSpace(e.val.text) == "" {
			d.fail(e.val.pos, join(path, e.key), "must be text, this is %s", e.val.describe())
			continue
		}
		switch e.key {
		case "volume":
			m.Volume = e.val.text
			if !volumeName.MatchString(m.Volume) || len(m.Volume) > 255 {
				d.fail(e.val.pos, join(path, e.key), "%s is not a volume's name: letters, digits, . _ and -, the first a letter or a digit; a folder of the host is a bind", quote(m.Volume))
			}
		case "bind":
			m.Bind = d.bind(e.val, join(path, e.key))
		case "target":
			m.Target, _ = d.target(e.val.pos, join(path, e.key), e.val.text)
		}
	}
	if len(d.problems) > before {
		return m, false
	}
	switch {
	case m.Target == "":
		d.fail(n.pos, path, "a mount needs a target")
	case (m.Volume == "") == (m.Bind == ""):
		d.fail(n.pos, path, "a mount needs either a volume or a bind")
	}
	return m, len(d.problems) == before
}

// bind checks a folder of the host against what the operator allows.
func (d *fieldDecoder) bind(n *node, field string) string {
	if !path.IsAbs(n.text) || strings.ContainsFunc(n.text, isControl) {
		d.fail(n.pos, field, "must be an absolute path, this is %s", quote(n.text))
		return ""
	}
	clean := path.Clean(n.text)
	for _, allowed := range d.ld.binds {
		if allowed == "/" || clean == allowed || strings.HasPrefix(clean, allowed+"/") {
			return clean
		}
	}
	if len(d.ld.binds) == 0 {
		d.fail(n.pos, field, "%s is a folder of the host, and no such mount is allowed here: the operator allows it by naming it, or a folder above it, among the allowed binds", quote(clean))
		return ""
	}
	d.fail(n.pos, field, "%s is not under a folder that the operator allows (%s): add it to the allowed binds, or use one of these", quote(clean), strings.Join(d.ld.binds, ", "))
	return ""
}

// target checks a path inside the runner.
func (d *fieldDecoder) target(at pos, field, s string) (string, bool) {
	clean := path.Clean(s)
	if !path.IsAbs(s) || clean == "/" || strings.ContainsFunc(s, isControl) {
		d.fail(at, field, "must be an absolute path below /, this is %s", quote(s))
		return "", false
	}
	return clean, true
}
