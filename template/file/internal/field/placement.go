package field

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/template"
	"github.com/slipway-ci/slipway/template/file/internal/document"
)

// Labels of hosts, as package hosts has them.
var (
	hostLabel      = regexp.MustCompile(`^[a-z0-9]([a-z0-9._/-]{0,61}[a-z0-9])?$`)
	hostLabelValue = regexp.MustCompile(`^[A-Za-z0-9._-]{0,63}$`)
)

// maxSelector is how many labels a host may have.
const maxSelector = 32

// Words that the fields runtime and control_plane take.
const (
	RuntimeShared   = "shared"
	RuntimeIsolated = "isolated"
	PlaneQueue      = "queue"
	PlaneShipfox    = "shipfox"
)

// isolating are names of runtimes that people write for isolated.
var isolating = []string{"sysbox-runc", "sysbox", "kata-runtime", "kata", "runsc", "gvisor"}

// Placement is what a scale set has beside its template.
type Placement struct {
	Hosts        []string
	Selector     map[string]string
	PerHostMax   int
	MinDiskFree  int64
	Isolated     bool
	Credential   string
	ControlPlane string
	// Places are those of the fields by name, and of hosts by hosts and a name with a
	// dot between.
	Places map[string]document.Pos
}

// ScaleSet are the fields of a scale set: those of a template, of which the
// runtime is another and max_concurrency is called max, and its own. What is not a
// template's they set in p.
func ScaleSet(p *Placement) []Field {
	var out []Field
	for _, f := range Template() {
		switch f.Name {
		case "runtime":
			continue
		case "max_concurrency":
			f.Name, f.Doc = "max", "How many of its runners may live at once, on all hosts together."
			f.Likely = append(slices.Clone(f.Likely), "maxconcurrency", "maximum", "size")
			out = append(append(out, f), placementFields(p)...)
			continue
		case "mounts":
			f.Doc = strings.Replace(f.Doc, "A bind must be under a folder that the operator allows.", "A bind must be under a folder that the hub allows, and the host's policy too.", 1)
		case "registration_deadline", "max_lifetime":
			f.Fallback = "the hub's"
		case "image":
			f.Fallback = "the hub's default image, if it has one"
		}
		f.Value = strings.ReplaceAll(f.Value, "max_concurrency", "max")
		out = append(out, f)
	}
	return out
}

func placementFields(p *Placement) []Field {
	return []Field{{
		Name:  "hosts",
		Value: "list of names of hosts", Fallback: "none",
		Doc:     "The hosts that may have its runners, those of `selector` beside them.",
		Example: "[builder-01, builder-02]",
		Likely:  []string{"host", "targets", "nodes", "machines"},
		Schema:  listSchema(textSchema()),
		decode:  p.decodeHosts,
	}, {
		Name:  "selector",
		Value: "map from label to value", Fallback: "none",
		Doc:     "Hosts that have all these labels may have its runners too. Without `hosts` and `selector` it has no host, and starts nothing.",
		Example: "{pool: large}",
		Likely:  []string{"hostselector", "nodeselector", "matchlabels", "hostlabels"},
		Schema:  Schema{"type": "object", "additionalProperties": Schema{"type": []string{"string", "number", "boolean"}}},
		decode:  p.decodeSelector,
	}, {
		Name:  "per_host_max",
		Value: "whole number, 0 to 100000; 0 for no bound", Fallback: "0",
		Doc:     "How many of its runners one host may have.",
		Example: "4",
		Likely:  []string{"maxperhost", "hostmax", "perhost"},
		Schema:  wholeSchema(0, maxConcurrency),
		decode:  whole(func(*template.Template) *int { return &p.PerHostMax }, 0, maxConcurrency),
	}, {
		Name:  "min_disk_free",
		Value: "size above 0, as `memory`", Fallback: "no floor",
		Doc:     "Hosts with less free disk start none of its runners.",
		Example: "10GiB",
		Likely:  []string{"diskfree", "mindisk", "disk", "minfreedisk"},
		Schema:  sizeSchema(),
		decode:  size(func(*template.Template) *int64 { return &p.MinDiskFree }),
	}, {
		Name:  "runtime",
		Value: "`shared` or `isolated`", Fallback: "`shared`",
		Doc:     "`isolated` takes a runtime that isolates, such as sysbox-runc; hosts without one start none of its runners.",
		Example: "isolated",
		Likely:  []string{"isolation", "ociruntime", "isolated"},
		Schema:  enumSchema([]string{RuntimeShared, RuntimeIsolated}),
		decode:  p.decodeRuntime,
	}, {
		Name:  "credential",
		Value: "name of a registry credential", Fallback: "the host's own",
		Doc:     "What `image` is pulled with. It must be for the image's registry.",
		Example: "ghcr",
		Likely:  []string{"credentials", "registrycredential", "imagepullsecret", "imagepullsecrets", "secret"},
		Schema:  textSchema(),
		decode:  text(func(*template.Template) *string { return &p.Credential }, oneWord),
	}, {
		Name:  "control_plane",
		Value: "`queue` or `shipfox`", Fallback: "`queue`",
		Doc:     "Where its jobs come from: the hub's own queue, or the Shipfox API that the hub is a provisioner of.",
		Example: "shipfox",
		Likely:  []string{"plane", "controlplane", "source"},
		Schema:  enumSchema([]string{PlaneQueue, PlaneShipfox}),
		decode:  oneOf(func(*template.Template) *string { return &p.ControlPlane }, []string{PlaneQueue, PlaneShipfox}),
	}}
}

func (p *Placement) decodeHosts(d *Decoder, f *Field, n *document.Node, _ *template.Template) {
	if n.Kind != document.List {
		d.want(f, n, "a list of names of hosts")
		return
	}
	hosts := map[string]bool{}
	for _, item := range n.Items {
		if item.Kind != document.Text && item.Kind != document.Number {
			d.want(f, item, "text")
			continue
		}
		if name, ok := d.plain(f, item); ok {
			hosts[name] = true
			p.Places[f.Name+"."+name] = item.Pos
		}
	}
	p.Hosts = slices.Sorted(maps.Keys(hosts))
}

func (p *Placement) decodeSelector(d *Decoder, f *Field, n *document.Node, _ *template.Template) {
	if n.Kind != document.Map {
		d.want(f, n, "a map from label to value")
		return
	}
	if len(n.Entries) > maxSelector {
		d.Fail(n.Pos, f.Name, "%d labels: at most %d are allowed", len(n.Entries), maxSelector)
		return
	}
	selector := make(map[string]string, len(n.Entries))
	for _, e := range n.Entries {
		p.Places[f.Name+"."+e.Key] = e.Pos
		switch {
		case !hostLabel.MatchString(e.Key):
			d.Fail(e.Pos, f.Name, "%s is not a label of a host: 1 to 63 characters of a-z, 0-9, ., _, / and - are allowed, with a letter or a digit at both ends", document.Quote(e.Key))
		case e.Val.Kind == document.List || e.Val.Kind == document.Map || e.Val.Kind == document.Null:
			d.Fail(e.Val.Pos, document.Join(f.Name, e.Key), "must be text, a number or a boolean, this is %s", e.Val.Kind)
		case !hostLabelValue.MatchString(e.Val.Scalar()):
			d.Fail(e.Val.Pos, document.Join(f.Name, e.Key), "must be up to 63 characters of A-Z, a-z, 0-9, ., _ and -, this is %s", e.Val.Describe())
		default:
			selector[e.Key] = e.Val.Scalar()
		}
	}
	p.Selector = selector
}

func (p *Placement) decodeRuntime(d *Decoder, f *Field, n *document.Node, t *template.Template) {
	if n.Kind == document.Text && slices.Contains(isolating, n.Text) {
		d.Fail(n.Pos, f.Name, "must be shared or isolated, this is %s; did you mean isolated?", n.Describe())
		return
	}
	word := ""
	oneOf(func(*template.Template) *string { return &word }, []string{RuntimeShared, RuntimeIsolated})(d, f, n, t)
	p.Isolated = word == RuntimeIsolated
}
