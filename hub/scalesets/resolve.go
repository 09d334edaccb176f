package scalesets

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/slipway-ci/slipway/hub/hosts"
	"github.com/slipway-ci/slipway/template/file"
)

// resolver turns names of hosts into ids and back, asking once for each.
type resolver struct {
	hosts Hosts
	ids   map[string]string // by name or id; empty: there is none
	names map[string]string // by id; the id itself: there is none
}

func (r *Registry) resolver() *resolver {
	return &resolver{hosts: r.cfg.Hosts, ids: map[string]string{}, names: map[string]string{}}
}

func (v *resolver) id(ctx context.Context, nameOrID string) (string, error) {
	if id, ok := v.ids[nameOrID]; ok {
		return id, nil
	}
	id, err := v.hosts.Resolve(ctx, nameOrID)
	if err != nil && !errors.Is(err, hosts.ErrNotFound) {
		return "", fmt.Errorf("scalesets: find host %s: %w", nameOrID, err)
	}
	v.ids[nameOrID] = id
	return id, nil
}

func (v *resolver) name(ctx context.Context, id string) (string, error) {
	if name, ok := v.names[id]; ok {
		return name, nil
	}
	name, err := v.hosts.Name(ctx, id)
	switch {
	case errors.Is(err, hosts.ErrNotFound):
		name = id
	case err != nil:
		return "", fmt.Errorf("scalesets: name host %s: %w", id, err)
	}
	v.names[id] = name
	return name, nil
}

// scaleSet is what was read, with the ids of its hosts. The id of a host that is
// gone is good where had has it already. Unknown hosts are problems.
func (v *resolver) scaleSet(ctx context.Context, read *file.ScaleSet, had []string) (s ScaleSet, problems []file.Problem, err error) {
	s = scaleSetOf(read)
	for _, name := range read.Hosts {
		id, err := v.id(ctx, name)
		switch {
		case err != nil:
			return s, nil, err
		case id != "":
			s.Hosts = append(s.Hosts, id)
		case slices.Contains(had, name):
			s.Hosts = append(s.Hosts, name)
		default:
			problems = append(problems, read.Problem("hosts."+name, "there is no host %q: add it first (slipway hosts add)", name))
		}
	}
	slices.Sort(s.Hosts)
	s.Hosts = slices.Compact(s.Hosts)
	return s, problems, nil
}

// document is a scale set as it is written.
func (v *resolver) document(ctx context.Context, s ScaleSet) (Document, error) {
	var names []string
	for _, id := range s.Hosts {
		name, err := v.name(ctx, id)
		if err != nil {
			return Document{}, err
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return documentOf(s, names), nil
}

// Document is a scale set as it is written: its hosts by their names, those that
// are gone by their ids.
func (r *Registry) Document(ctx context.Context, s ScaleSet) (Document, error) {
	return r.resolver().document(ctx, s)
}
