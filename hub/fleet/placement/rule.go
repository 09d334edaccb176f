package placement

// Rule is where the runners of one template may live.
type Rule struct {
	// Hosts are ids. Selector asks for labels: a host that has all of them is
	// targeted too. Both empty: no host is.
	Hosts    []string
	Selector map[string]string
	// PerHostMax bounds the template's runners on one host; 0: nothing but the
	// host's own cap does.
	PerHostMax int
	// Isolated asks for a runtime that isolates, see Config.IsolatedRuntimes.
	Isolated bool
	// MinDiskFree is how many bytes must be free on a host's disk for a launch; a
	// host that tells nothing of its disk is not chosen then. 0: no floor.
	MinDiskFree int64
}

// rule is a Rule made ready. Every host is looked at for every launch.
type rule struct {
	Rule
	hosts    map[string]bool
	selector []label
}

type label struct{ key, value string }

// SetRules says where each template may go. One that is not among them goes nowhere,
// nor does a runner of no template. Nil, as it is in the beginning: every host takes
// every template.
func (p *Placer) SetRules(rules map[string]Rule) {
	p.rules = nil
	if rules != nil {
		p.rules = make(map[string]*rule, len(rules))
	}
	for template, r := range rules {
		made := &rule{Rule: r, hosts: map[string]bool{}}
		for _, id := range r.Hosts {
			made.hosts[id] = true
		}
		for k, v := range r.Selector {
			made.selector = append(made.selector, label{k, v})
		}
		p.rules[template] = made
	}
}

// targets says whether the rule is for the host.
func (r *rule) targets(h *Host) bool {
	if r.hosts[h.ID] {
		return true
	}
	for _, want := range r.selector {
		if have, ok := h.Labels[want.key]; !ok || have != want.value {
			return false
		}
	}
	return len(r.selector) > 0
}

// FloorBetween says whether a template's disk floor lies between what was free and
// what is: then there is room where there was none, or none any more.
func (p *Placer) FloorBetween(was, is int64) bool {
	for _, r := range p.rules {
		if floor := r.MinDiskFree; floor > 0 && (was < floor) != (is < floor) {
			return true
		}
	}
	return false
}
