package fleet

import (
	"time"

	"github.com/slipway-ci/slipway/hub/fleet/placement"
	"github.com/slipway-ci/slipway/internal/wire"
	"github.com/slipway-ci/slipway/provisioner"
)

// Placement is where the runners of one template may live.
type Placement = placement.Rule

// Verdict is why a host may get a runner of a template now, or may not.
type Verdict = placement.Verdict

// SetPlacements says where the templates may go: the key is what the label
// provisioner.LabelTemplate holds. A template that is not in it goes nowhere, nor
// does a runner without that label. Nil, as it is in the beginning: every host
// takes every template. What runs stays where it is.
func (f *Fleet) SetPlacements(placements map[string]Placement) {
	f.mu.Lock()
	defer f.unlock()
	f.placer.SetRules(placements)
	f.notify()
}

// Explain tells for each host, in the order of their ids, whether it may get a
// runner of the template now, by the rules that a launch goes by. What a runner of
// it needs is known from when Capacity, Prepare or Launch was last asked for one;
// before that only its placement is looked at.
func (f *Fleet) Explain(template string) []Verdict {
	f.mu.Lock()
	defer f.unlock()
	return f.placer.Explain(f.looks, template, time.Now())
}

// ask is what a launch of the spec wants of a host. The lock is held.
func (f *Fleet) ask(spec *wire.Spec) *placement.Ask {
	return f.placer.Ask(spec.Labels[provisioner.LabelTemplate], spec)
}

// look is the host as placement sees it now.
func (h *host) look() *placement.Host {
	h.count()
	p, s := h.place, h.session
	p.ID, p.Name, p.Labels, p.MaxRunners, p.Cordoned = h.ID, h.name(), h.Labels, h.MaxRunners, h.Cordoned
	p.Online, p.Ready, p.Blind = s != nil, h.ready, h.blind
	p.NeedsUpdate, p.Listed = s != nil && s.needsUpdate, s != nil && s.listed
	return p
}

// looks are all hosts so, in the order of their ids. The lock is held.
func (f *Fleet) looks(yield func(*placement.Host) bool) {
	for _, h := range f.order {
		if !yield(h.look()) {
			return
		}
	}
}
