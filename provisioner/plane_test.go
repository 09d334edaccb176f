package provisioner_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/slipway-ci/slipway/provisioner"
)

// plane is a control plane that a test scripts: it answers polls with what push
// was given, mints whatever is asked, and remembers all that it is told.
type plane struct {
	mu      sync.Mutex
	pending []provisioner.Demand
	woken   chan struct{}
	ads     []provisioner.Advertisement
	minted  []provisioner.MintRequest
	events  []provisioner.Event
	facts   map[string]provisioner.Fact
	retired []string
	closed  bool

	mintErr   func([]provisioner.MintRequest) error
	reportErr func([]provisioner.Event) error
	pollErr   func(n int) error
	lifetime  time.Duration     // of registrations
	labels    map[string]string // of registrations
	noWarm    bool
	canRetire func(id string) bool
	announced []string
}

func newPlane() *plane {
	return &plane{woken: make(chan struct{}, 1), facts: map[string]provisioner.Fact{}, labels: map[string]string{"plane": "its-own"}}
}

func (p *plane) Identify(context.Context) (provisioner.Identity, error) {
	return provisioner.Identity{ID: "owner"}, nil
}

func (p *plane) push(d provisioner.Demand) {
	p.mu.Lock()
	p.pending = append(p.pending, d)
	p.mu.Unlock()
	select {
	case p.woken <- struct{}{}:
	default:
	}
}

func (p *plane) grant(reservation string, count int, labels ...string) {
	slices.Sort(labels)
	p.push(provisioner.Demand{Grants: []provisioner.Grant{{Reservation: reservation, Labels: labels, Count: count, Lifetime: 2 * time.Minute}}})
}

func (p *plane) Poll(ctx context.Context, ad provisioner.Advertisement) (provisioner.Demand, error) {
	p.mu.Lock()
	p.ads = append(p.ads, ad)
	n := len(p.ads)
	p.mu.Unlock()
	if p.pollErr != nil {
		if err := p.pollErr(n); err != nil {
			return provisioner.Demand{}, err
		}
	}
	timeout := time.NewTimer(ad.Wait)
	defer timeout.Stop()
	for {
		p.mu.Lock()
		if len(p.pending) > 0 && ad.Free() > 0 || len(p.pending) > 0 && len(p.pending[0].Grants) == 0 {
			d := p.pending[0]
			p.pending = p.pending[1:]
			p.mu.Unlock()
			return d, nil
		}
		p.mu.Unlock()
		if ad.Free() == 0 {
			return provisioner.Demand{}, nil
		}
		select {
		case <-p.woken:
		case <-timeout.C:
			return provisioner.Demand{}, nil
		case <-ctx.Done():
			return provisioner.Demand{}, ctx.Err()
		}
	}
}

func (p *plane) Mint(_ context.Context, requests []provisioner.MintRequest) ([]provisioner.Registration, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mintErr != nil {
		if err := p.mintErr(requests); err != nil {
			return nil, err
		}
	}
	if p.noWarm && requests[0].Reservation == "" {
		return nil, fmt.Errorf("no warm runners: %w", errUnsupported)
	}
	p.minted = append(p.minted, requests...)
	out := make([]provisioner.Registration, len(requests))
	for i, r := range requests {
		out[i] = provisioner.Registration{Runner: r.Runner, Env: map[string]string{"TOKEN": "canary-" + r.Runner}, Lifetime: p.lifetime,
			Labels: p.labels}
	}
	return out, nil
}

func (p *plane) Report(_ context.Context, events []provisioner.Event) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reportErr != nil {
		if err := p.reportErr(events); err != nil {
			return err
		}
	}
	p.events = append(p.events, events...)
	return nil
}

func (p *plane) Close(context.Context) error {
	p.closed = true
	return nil
}

// told is what was reported of a runner, in order.
func (p *plane) told(id string) (states []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.events {
		if e.Runner == id && (len(states) == 0 || states[len(states)-1] != string(e.State)) {
			states = append(states, string(e.State))
		}
	}
	return states
}

func (p *plane) mints() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.minted)
}

// polls is how many there were, lastAd what the last one offered.
func (p *plane) polls() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.ads)
}

func (p *plane) lastAd() provisioner.Advertisement {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ads[len(p.ads)-1]
}

func (p *plane) lastEvent() provisioner.Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.events[len(p.events)-1]
}

func (p *plane) mintedIDs() (ids []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.minted {
		ids = append(ids, m.Runner)
	}
	return ids
}

// knowing is a plane with every ability.
type knowing struct{ *plane }

func (k knowing) Facts(_ context.Context, runners []provisioner.Ref) ([]provisioner.Fact, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []provisioner.Fact
	for _, r := range runners {
		if f, ok := k.facts[r.ID]; ok {
			out = append(out, f)
		}
	}
	return out, nil
}

func (k knowing) know(f provisioner.Fact) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.facts[f.Runner] = f
}

func (k knowing) Retire(_ context.Context, runners []provisioner.Ref) (retired []string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, r := range runners {
		if k.canRetire == nil || k.canRetire(r.ID) {
			retired = append(retired, r.ID)
		}
	}
	k.retired = append(k.retired, retired...)
	return retired, nil
}

func (k knowing) Announce(_ context.Context, r provisioner.Ref) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.announced = append(k.announced, r.ID)
	return nil
}

var (
	_ provisioner.ControlPlane = (*plane)(nil)
	_ provisioner.Closer       = (*plane)(nil)
	_ provisioner.Knower       = knowing{}
	_ provisioner.Retirer      = knowing{}
	_ provisioner.Announcer    = knowing{}
)
