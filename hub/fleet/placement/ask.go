package placement

import (
	"encoding/json"
	"math"

	"github.com/slipway-ci/slipway/internal/wire"
)

// Ask is what a launch wants of a host. Nobody changes it.
type Ask struct {
	// Template is that of the runner; empty: it has none.
	Template string
	// Kind is what runners of one template have in common: all of the spec but what is
	// one runner's own.
	Kind string

	ruled    bool  // there are rules, and rule is the template's: nil if it has none
	rule     *rule // see ruled
	os, arch string
	runtime  string
	cpu      int64 // in thousandths
	memory   int64
	gpus     int // -1: all
}

// Ask is what a launch of the spec, which is of that template, wants by the rules of
// now. The newest of each template is remembered.
func (p *Placer) Ask(template string, spec *wire.Spec) *Ask {
	a := p.ruled(Ask{
		Template: template, Kind: kindOf(spec),
		os: spec.OS, arch: spec.Arch, runtime: spec.Runtime, cpu: milli(spec.CPU), memory: max(spec.Memory, 0), gpus: spec.GPUs,
	})
	if template != "" && (p.asks[template] != nil || len(p.asks) < mostKinds) {
		p.asks[template] = a
	}
	return a
}

// Asked is the newest Ask of a template; nil: there was none.
func (p *Placer) Asked(template string) *Ask { return p.asks[template] }

func (p *Placer) ruled(a Ask) *Ask {
	a.ruled, a.rule = p.rules != nil, p.rules[a.Template]
	return &a
}

// isolated says whether a runtime that isolates is asked for.
func (a *Ask) isolated() bool { return a.rule != nil && a.rule.Isolated }

// key is what a back-off belongs to on a host: the template, or, of a runner that has
// none, its kind.
func (a *Ask) key() string {
	if a.Template != "" {
		return a.Template
	}
	return a.Kind
}

// kindOf is all of the spec but what is one runner's own. Specs without an id, as
// Capacity's, have a kind too.
func kindOf(spec *wire.Spec) string {
	kind := *spec
	kind.ID, kind.Labels, kind.Env, kind.Credential, kind.GPUIDs = "", nil, nil, nil, nil
	kind.Command = nil             // a registration may set it
	text, _ := json.Marshal(&kind) // FromSpec has done it before
	return string(text)
}

// milli is a number of CPUs in thousandths.
func milli(cpus float64) int64 {
	switch {
	case !(cpus > 0):
		return 0
	case cpus > 1e9:
		return 1e12
	default:
		return int64(math.Ceil(cpus*1000 - 1e-6))
	}
}
