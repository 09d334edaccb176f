package file

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/template"
)

// Labels of hosts, as package hosts has them.
var (
	hostLabel      = regexp.MustCompile(`^[a-z0-9]([a-z0-9._/-]{0,61}[a-z0-9])?$`)
	hostLabelValue = regexp.MustCompile(`^[A-Za-z0-9._-]{0,63}$`)
)

// maxSelector is how many labels a host may have.
const maxSelector = 32

// isolating are names of runtimes that people write for isolated.
var isolating = []string{"sysbox-runc", "sysbox", "kata-runtime", "kata", "runsc", "gvisor"}

// ScaleSetFieldNames are the fields of a scale set, in the order of the reference.
func ScaleSetFieldNames() (names []string) {
	for _, f := range scaleSetFields(&ScaleSet{}) {
		names = append(names, f.name)
	}
	return names
}

// scaleSetFields are the fields of a scale set: those of a template, of which the
// runtime is another and max_concurrency is called max, and its own. What is not a
// template's they set in s.
func scaleSetFields(s *ScaleSet) []field {
	var out []field
	for _, f := range fields {
		switch f.name {
		case "runtime":
			continue
		case "max_concurrency":
			f.name, f.doc = "max", "How many of its runners may live at once, on all hosts together."
			f.likely = append(slices.Clone(f.likely), "maxconcurrency", "maximum", "size")
			out = append(append(out, f), placementFields(s)...)
			continue
		case "mounts":
			f.doc = strings.Replace(f.doc, "A bind must be under a folder that the operator allows.", "A bind must be under a folder that the hub allows, and the host's policy too.", 1)
		case "registration_deadline", "max_lifetime":
			f.fallback = "the hub's"
		case "image":
			f.fallback = "the hub's default image, if it has one"
		}
		f.value = strings.ReplaceAll(f.value, "max_concurrency", "max")
		out = append(out, f)
	}
	return out
}

func placementFields(s *ScaleSet) []field {
	return []field{{
		name:  "hosts",
		value: "list of names of hosts", fallback: "none",
		doc:     "The hosts that may have its runners, those of `selector` beside them.",
		example: "[builder-01, builder-02]",
		likely:  []string{"host", "targets", "nodes", "machines"},
		schema:  listSchema(textSchema()),
		decode:  s.decodeHosts,
	}, {
		name:  "selector",
		value: "map from label to value", fallback: "none",
		doc:     "Hosts that have all these labels may have its runners too. Without `hosts` and `selector` it has no host, and starts nothing.",
		example: "{pool: large}",
		likely:  []string{"hostselector", "nodeselector", "matchlabels", "hostlabels"},
		schema:  schema{"type": "object", "additionalProperties": schema{"type": []string{"string", "number", "boolean"}}},
		decode:  s.decodeSelector,
	}, {
		name:  "per_host_max",
		value: "whole number, 0 to 100000; 0 for no bound", fallback: "0",
		doc:     "How many of its runners one host may have.",
		example: "4",
		likely:  []string{"maxperhost", "hostmax", "perhost"},
		schema:  wholeSchema(0, maxConcurrency),
		decode:  whole(func(*template.Template) *int { return &s.PerHostMax }, 0, maxConcurrency),
	}, {
		name:  "min_disk_free",
		value: "size above 0, as `memory`", fallback: "no floor",
		doc:     "Hosts with less free disk start none of its runners.",
		example: "10GiB",
		likely:  []string{"diskfree", "mindisk", "disk", "minfreedisk"},
		schema:  sizeSchema(),
		decode:  size(func(*template.Template) *int64 { return &s.MinDiskFree }),
	}, {
		name:  "runtime",
		value: "`shared` or `isolated`", fallback: "`shared`",
		doc:     "`isolated` takes a runtime that isolates, such as sysbox-runc; hosts without one start none of its runners.",
		example: "isolated",
		likely:  []string{"isolation", "ociruntime", "isolated"},
		schema:  enumSchema([]string{RuntimeShared, RuntimeIsolated}),
		decode:  s.decodeRuntime,
	}, {
		name:  "credential",
		value: "name of a registry credential", fallback: "the host's own",
		doc:     "What `image` is pulled with. It must be for the image's registry.",
		example: "ghcr",
		likely:  []string{"credentials", "registrycredential", "imagepullsecret", "imagepullsecrets", "secret"},
		schema:  textSchema(),
		decode:  text(func(*template.Template) *string { return &s.Credential }, oneWord),
	}, {
		name:  "control_plane",
		value: "`queue` or `shipfox`", fallback: "`queue`",
		doc:     "Where its jobs come from: the hub's own queue, or the Shipfox API that the hub is a provisioner of.",
		example: "shipfox",
		likely:  []string{"plane", "controlplane", "source"},
		schema:  enumSchema([]string{ControlPlaneQueue, ControlPlaneShipfox}),
		decode:  oneOf(func(*template.Template) *string { return &s.ControlPlane }, []string{ControlPlaneQueue, ControlPlaneShipfox}),
	}}
}

func (s *ScaleSet) decodeHosts(d *fieldDecoder, f *field, n *node, _ *template.Template) {
	if n.kind != kindList {
		d.want(f, n, "a list of names of hosts")
		return
	}
	hosts := map[string]bool{}
	for _, item := range n.items {
		if item.kind != kindText && item.kind != kindNumber {
			d.want(f, item, "text")
			continue
		}
		if name, ok := d.plain(f, item); ok {
			hosts[name] = true
			s.Places[f.name+"."+name] = item.pos.place()
		}
	}
	s.Hosts = slices.Sorted(maps.Keys(hosts))
}

func (s *ScaleSet) decodeSelector(d *fieldDecoder, f *field, n *node, _ *template.Template) {
	if n.kind != kindMap {
		d.want(f, n, "a map from label to value")
		return
	}
	if len(n.entries) > maxSelector {
		d.fail(n.pos, f.name, "%d labels: at most %d are allowed", len(n.entries), maxSelector)
		return
	}
	selector := make(map[string]string, len(n.entries))
	for _, e := range n.entries {
		s.Places[f.name+"."+e.key] = e.pos.place()
		switch {
		case !hostLabel.MatchString(e.key):
			d.fail(e.pos, f.name, "%s is not a label of a host: 1 to 63 characters of a-z, 0-9, ., _, / and - are allowed, with a letter or a digit at both ends", quote(e.key))
		case e.val.kind == kindList || e.val.kind == kindMap || e.val.kind == kindNull:
			d.fail(e.val.pos, join(f.name, e.key), "must be text, a number or a boolean, this is %s", e.val.kind)
		case !hostLabelValue.MatchString(e.val.scalarText()):
			d.fail(e.val.pos, join(f.name, e.key), "must be up to 63 characters of A-Z, a-z, 0-9, ., _ and -, this is %s", e.val.describe())
		default:
			selector[e.key] = e.val.scalarText()
		}
	}
	s.Selector = selector
}

func (s *ScaleSet) decodeRuntime(d *fieldDecoder, f *field, n *node, t *template.Template) {
	if n.kind == kindText && slices.Contains(isolating, n.text) {
		d.fail(n.pos, f.name, "must be shared or isolated, this is %s; did you mean isolated?", n.describe())
		return
	}
	word := ""
	oneOf(func(*template.Template) *string { return &word }, []string{RuntimeShared, RuntimeIsolated})(d, f, n, t)
	s.Isolated = word == RuntimeIsolated
}
