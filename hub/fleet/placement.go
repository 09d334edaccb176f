package fleet

// Placement is where the runners of one template may live.
type Placement struct {
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

// placement is a Placement made ready. Every host is looked at for every launch.
type placement struct {
	Placement
	hosts    map[string]bool
	selector []label
}

type label struct{ key, value string }

// SetPlacements says where the templates may go: the key is what the label
// provisioner.LabelTemplate holds. A template that is not in it goes nowhere, nor
// does a runner without that label. Nil, as it is in the beginning: every host
// takes every template. What runs stays where it is.
func (f *Fleet) SetPlacements(placements map[string]Placement) {
	var ready map[string]*placement
	if placements != nil {
		ready = make(map[string]*placement, len(placements))
	}
	for key, p := range placements {
		made := &placement{Placement: p, hosts: map[string]bool{}}
		for _, id := range p.Hosts {
			made.hosts[id] = true
		}
		for k, v := range p.Selector {
			made.selector = append(made.selector, label{k, v})
		}
		ready[key] = made
	}
	f.mu.Lock()
	defer f.unlock()
	f.placements = ready
	f.notify()
}

// targets says whether the placement is for the host.
func (p *placement) targets(h *host) bool {
	if p.hosts[h.ID] {
		return true
	}
	for _, want := range p.selector {
		if have, ok := h.Labels[want.key]; !ok || have != want.value {
			return false
		}
	}
	return len(p.selector) > 0
}
