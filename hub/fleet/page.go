package fleet

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/hub/fleet/sight"
)

// PlacedRunner is a runner, and the host that it lives on or was sent to.
type PlacedRunner struct {
	backend.Runner
	// HostID is the host's id; Runner.Host is its name.
	HostID string
}

// RunnerFilter says which runners a Page has. Zero fields don't filter.
type RunnerFilter struct {
	// Host is the id of the host that they are on.
	Host string
	// Template is what their label provisioner.LabelTemplate holds.
	Template string
	// State is theirs, as List tells it.
	State backend.State
	// Before is an id: only smaller ones follow, which are older. Empty: from the
	// newest on.
	Before string
	// Limit is how many at most; default 100.
	Limit int
}

const defaultLimit = 100

// Runner is one runner as List tells it, and the id of its host. ok is false where
// List tells of no such runner, or can't.
func (f *Fleet) Runner(ctx context.Context, id string) (r backend.Runner, hostID string, ok bool) {
	if ctx.Err() != nil {
		return backend.Runner{}, "", false
	}
	f.mu.Lock()
	kept := f.runners[id]
	if ok = f.open && kept != nil && kept.known(); !ok {
		f.unlock()
		return backend.Runner{}, "", false
	}
	s := kept.sight(f.lost(kept.host, time.Now()))
	hostID = kept.host.ID
	f.unlock()
	return s.Tell(), hostID, true
}

// Page is a part of what List tells, the newest first: more says that others follow.
// Nothing is copied of runners that are not in it.
func (f *Fleet) Page(ctx context.Context, filter RunnerFilter) (page []PlacedRunner, more bool, err error) {
	if err := ctx.Err(); err != nil {
		return nil, false, fmt.Errorf("list a page: %w", err)
	}
	filter.Limit = cmp.Or(max(filter.Limit, 0), defaultLimit)
	sights, hosts, more, err := f.pageSights(filter, time.Now())
	if err != nil {
		return nil, false, err
	}
	page = make([]PlacedRunner, len(sights))
	for i := range sights {
		page[i] = PlacedRunner{Runner: sights[i].Tell(), HostID: hosts[i]}
	}
	return page, more, nil
}

func (f *Fleet) pageSights(filter RunnerFilter, now time.Time) (sights []sight.Sight, hosts []string, more bool, err error) {
	f.mu.Lock()
	defer f.unlock()
	if !f.open {
		return nil, nil, false, fmt.Errorf("list a page: the fleet is not running: %w", backend.ErrUnavailable)
	}
	all := f.listed()
	if filter.Before != "" {
		end, _ := slices.BinarySearchFunc(all, filter.Before, func(r *record, id string) int { return strings.Compare(r.id, id) })
		all = all[:end]
	}
	for _, r := range slices.Backward(all) {
		if !r.known() || filter.Host != "" && filter.Host != r.host.ID || filter.Template != "" && filter.Template != r.template {
			continue
		}
		s := r.sight(f.lost(r.host, now))
		if filter.State != "" && filter.State != s.State() {
			continue
		}
		if len(sights) == filter.Limit {
			return sights, hosts, true, nil
		}
		sights, hosts = append(sights, s), append(hosts, r.host.ID)
	}
	return sights, hosts, false, nil
}

// CountByTemplate counts the runners that List tells, by the label
// provisioner.LabelTemplate (empty: without one) and by state.
func (f *Fleet) CountByTemplate(ctx context.Context) (map[string]map[backend.State]int, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("count: %w", err)
	}
	type kind struct {
		template string
		state    backend.State
	}
	counts, now := map[kind]int{}, time.Now()
	f.mu.Lock()
	if !f.open {
		f.unlock()
		return nil, fmt.Errorf("count: the fleet is not running: %w", backend.ErrUnavailable)
	}
	for _, r := range f.listed() {
		if r.known() {
			s := r.sight(f.lost(r.host, now))
			counts[kind{r.template, s.State()}]++
		}
	}
	f.unlock()
	byTemplate := map[string]map[backend.State]int{}
	for k, n := range counts {
		if byTemplate[k.template] == nil {
			byTemplate[k.template] = map[backend.State]int{}
		}
		byTemplate[k.template][k.state] = n
	}
	return byTemplate, nil
}
