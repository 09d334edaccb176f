package scalesets

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/template/file"
)

// ApplyOptions say how to apply a file. The zero value creates and edits.
type ApplyOptions struct {
	// Name is what errors call the file; default scale-sets.yaml.
	Name string
	// DryRun only computes what would change.
	DryRun bool
	// Prune deletes the scale sets that the file does not name.
	Prune bool
	// Revision is that of a Diff that somebody has agreed to: if anything was edited
	// since, it is ErrStale. 0: any.
	Revision int64
}

// Apply makes the scale sets those of a YAML file, and returns what that changes.
// All of it happens, or nothing. ErrInvalid: with all that is wrong, by line and
// column. ErrStale: something was edited while the file was applied, or since
// Revision.
func (r *Registry) Apply(ctx context.Context, yaml []byte, o ApplyOptions) (Diff, error) {
	if o.Name == "" {
		o.Name = "scale-sets.yaml"
	}
	p, err := r.plan(ctx, yaml, o)
	if err != nil {
		return Diff{}, err
	}
	p.diff.DryRun = o.DryRun
	if o.DryRun {
		return p.diff, nil
	}
	if err := r.commit(ctx, p); err != nil {
		return Diff{}, fmt.Errorf("scalesets: apply %s: %w", o.Name, err)
	}
	return p.diff, nil
}

// plan is a Diff, and what it needs to be done.
type plan struct {
	diff Diff
	read map[string]*file.ScaleSet
	sets map[string]ScaleSet
}

// snapshot is what there is.
type snapshot struct {
	revision    int64
	sets        map[string]ScaleSet
	names       []string
	credentials map[string]RegistryCredential
}

func (r *Registry) snapshot(ctx context.Context) (s snapshot, err error) {
	s.sets = map[string]ScaleSet{}
	err = r.read(ctx, func(t *tx) error {
		if s.revision, err = t.clock(); err != nil {
			return err
		}
		if s.credentials, err = t.credentials(); err != nil {
			return err
		}
		sets, err := t.scaleSets()
		for _, set := range sets {
			s.sets[set.Key] = set
			s.names = append(s.names, set.Key)
		}
		return err
	})
	if err != nil {
		return s, fmt.Errorf("scalesets: read: %w", err)
	}
	return s, nil
}

func (r *Registry) plan(ctx context.Context, yaml []byte, o ApplyOptions) (*plan, error) {
	read, err := file.ParseScaleSets(o.Name, yaml, r.opts)
	if err != nil {
		return nil, refuse(err)
	}
	was, err := r.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	if o.Revision != 0 && o.Revision != was.revision {
		return nil, fmt.Errorf("scalesets: apply %s: %w", o.Name, ErrStale)
	}
	hosts := r.resolver()
	p := &plan{diff: Diff{Revision: was.revision}, read: map[string]*file.ScaleSet{}, sets: map[string]ScaleSet{}}
	for _, w := range read.Warnings {
		p.diff.Warnings = append(p.diff.Warnings, w.String())
	}
	wrong := &file.Error{File: o.Name}
	for i := range read.Sets {
		set := &read.Sets[i]
		s, problems, err := hosts.scaleSet(ctx, set, was.sets[set.Key].Hosts)
		if err != nil {
			return nil, err
		}
		if problem, bad := r.wrongCredential(was.credentials, set, s); bad {
			problems = append(problems, problem)
		}
		for _, problem := range problems {
			problem.Path = strings.TrimSuffix("scale_sets."+set.Key+"."+problem.Path, ".")
			wrong.Problems = append(wrong.Problems, problem)
		}
		p.read[set.Key], p.sets[set.Key] = set, s
	}
	if len(wrong.Problems) > 0 {
		return nil, refuse(wrong)
	}
	return p, p.compare(ctx, hosts, was, o.Prune)
}

// compare fills the diff.
func (p *plan) compare(ctx context.Context, hosts *resolver, was snapshot, prune bool) error {
	names := slices.Clone(was.names)
	for name := range p.sets {
		if _, ok := was.sets[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		before, exists := was.sets[name]
		after, wanted := p.sets[name]
		if !wanted && !prune {
			continue
		}
		change := Change{ScaleSet: name, Action: ActionDelete}
		if wanted {
			var old, fresh Document
			var err error
			if fresh, err = hosts.document(ctx, after); err != nil {
				return err
			}
			change.Action = ActionCreate
			if exists {
				change.Action = ActionEdit
				if old, err = hosts.document(ctx, before); err != nil {
					return err
				}
			}
			change.Fields = compare(old, fresh)
		}
		if change.Action == ActionEdit && len(change.Fields) == 0 {
			p.diff.Unchanged = append(p.diff.Unchanged, name)
			continue
		}
		p.diff.Changes = append(p.diff.Changes, change)
	}
	return nil
}

// commit does what the diff says, if nothing was edited since it was made.
func (r *Registry) commit(ctx context.Context, p *plan) error {
	if len(p.diff.Changes) == 0 {
		return nil
	}
	return r.write(ctx, func(t *tx) error {
		switch now, err := t.clock(); {
		case err != nil:
			return err
		case now != p.diff.Revision:
			return ErrStale
		}
		for _, c := range p.diff.Changes {
			var err error
			switch c.Action {
			case ActionCreate:
				_, err = r.create(t, p.read[c.ScaleSet], p.sets[c.ScaleSet])
			case ActionEdit:
				_, err = r.replace(t, p.read[c.ScaleSet], p.sets[c.ScaleSet], c.Fields)
			case ActionDelete:
				err = r.delete(t, c.ScaleSet)
			}
			if err != nil {
				return err
			}
		}
		return t.checkNumber()
	})
}
