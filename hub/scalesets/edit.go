package scalesets

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/template/file"
)

// Create makes a scale set. ErrInvalid, ErrExists.
func (r *Registry) Create(ctx context.Context, name string, d Document) (ScaleSet, error) {
	read, s, err := r.parse(ctx, name, d, nil)
	if err != nil {
		return ScaleSet{}, err
	}
	return r.edit(ctx, "create", name, func(t *tx) (ScaleSet, error) {
		switch _, exists, err := t.scaleSet(name); {
		case err != nil:
			return s, err
		case exists:
			return s, ErrExists
		}
		if s, err = r.create(t, read, s); err != nil {
			return s, err
		}
		return s, t.checkNumber()
	})
}

// Put replaces a scale set whole: what the document leaves out gets its default. Where
// that changes nothing, nothing is written. ifVersion is the version that it was
// made from; 0: any. ErrInvalid, ErrNotFound, ErrStale.
func (r *Registry) Put(ctx context.Context, name string, ifVersion int64, d Document) (ScaleSet, error) {
	before, err := r.Get(ctx, name)
	if err != nil {
		return ScaleSet{}, err
	}
	read, s, err := r.parse(ctx, name, d, before.Hosts)
	if err != nil {
		return ScaleSet{}, err
	}
	return r.edit(ctx, "edit", name, func(t *tx) (ScaleSet, error) {
		before, err := t.current(name, ifVersion)
		if err != nil {
			return s, err
		}
		changes := compare(documentOf(before, before.Hosts), documentOf(s, s.Hosts))
		if len(changes) == 0 {
			return before, nil
		}
		return r.replace(t, read, s, changes)
	})
}

// Delete deletes a scale set; its runners finish. ifVersion is as in Put.
// ErrNotFound, ErrStale.
func (r *Registry) Delete(ctx context.Context, name string, ifVersion int64) error {
	_, err := r.edit(ctx, "delete", name, func(t *tx) (s ScaleSet, err error) {
		if s, err = t.current(name, ifVersion); err != nil {
			return s, err
		}
		return s, r.delete(t, name)
	})
	return err
}

// Get returns one scale set. ErrNotFound.
func (r *Registry) Get(ctx context.Context, name string) (s ScaleSet, err error) {
	err = r.read(ctx, func(t *tx) error {
		s, err = t.current(name, 0)
		return err
	})
	return s, wrap("read", name, err)
}

// Filter says which scale sets to list. Zero fields don't filter.
type Filter struct {
	// ControlPlane is one of the constants.
	ControlPlane string
	// Cursor is List's next of before. Limit is how many at most; 0: all.
	Cursor string
	Limit  int
}

// List returns scale sets by name. next is empty at the end.
func (r *Registry) List(ctx context.Context, f Filter) (sets []ScaleSet, next string, err error) {
	limit := f.Limit
	if limit <= 0 {
		limit = -2 // with one more it is SQLite's "no limit"
	}
	err = r.read(ctx, func(t *tx) error {
		sets, err = store.All(t.Tx, scan, `SELECT `+columns+` FROM scale_sets WHERE name > ? AND (? = '' OR control_plane = ?) ORDER BY name LIMIT ?`,
			f.Cursor, f.ControlPlane, f.ControlPlane, limit+1)
		return err
	})
	if err != nil {
		return nil, "", fmt.Errorf("scalesets: list: %w", err)
	}
	if f.Limit > 0 && len(sets) > f.Limit {
		sets = sets[:f.Limit]
		next = sets[f.Limit-1].Key
	}
	return sets, next, nil
}

// parse checks a document and finds its hosts.
func (r *Registry) parse(ctx context.Context, name string, d Document, had []string) (*file.ScaleSet, ScaleSet, error) {
	read, err := d.parse(name, r.opts)
	if err != nil {
		return nil, ScaleSet{}, err
	}
	s, problems, err := r.resolver().scaleSet(ctx, read, had)
	if err != nil {
		return nil, ScaleSet{}, err
	}
	if len(problems) > 0 {
		return nil, ScaleSet{}, withoutPlaces(&file.Error{File: "scale set " + name, Problems: problems})
	}
	return read, s, nil
}

func (r *Registry) edit(ctx context.Context, deed, name string, do func(*tx) (ScaleSet, error)) (s ScaleSet, err error) {
	err = r.write(ctx, func(t *tx) error {
		s, err = do(t)
		return err
	})
	if err != nil {
		return ScaleSet{}, wrap(deed, name, err)
	}
	return s, nil
}

// wrap names the deed and the object, where the error does not say it itself.
func wrap(deed, name string, err error) error {
	var wrong *documentError
	if err == nil || errors.As(err, &wrong) {
		return err
	}
	return fmt.Errorf("scalesets: %s %s: %w", deed, name, err)
}

// current is a scale set that must be there, in that version.
func (t *tx) current(name string, ifVersion int64) (ScaleSet, error) {
	s, found, err := t.scaleSet(name)
	switch {
	case err != nil:
		return s, err
	case !found:
		return s, ErrNotFound
	case ifVersion != 0 && ifVersion != s.Version:
		return s, ErrStale
	}
	return s, nil
}

// The deeds below are those of single edits and of Apply alike.

func (r *Registry) create(t *tx, read *file.ScaleSet, s ScaleSet) (ScaleSet, error) {
	if err := r.checkCredential(t, read, s); err != nil {
		return s, err
	}
	t.tell("scale-set-created", object(s.Key), "created with max "+fmt.Sprint(s.MaxConcurrency))
	return t.put(s)
}

func (r *Registry) replace(t *tx, read *file.ScaleSet, s ScaleSet, changes []FieldChange) (ScaleSet, error) {
	if err := r.checkCredential(t, read, s); err != nil {
		return s, err
	}
	var names []string
	for _, c := range changes {
		names = append(names, c.Field)
	}
	t.tell("scale-set-edited", object(s.Key), "changed "+strings.Join(names, ", "))
	return t.put(s)
}

func (r *Registry) delete(t *tx, name string) error {
	t.tell("scale-set-deleted", object(name), "deleted: its runners finish")
	return t.remove(name)
}

func object(name string) string { return "scale-set/" + name }

// checkNumber keeps the scale sets so few that their export can be applied.
func (t *tx) checkNumber() error {
	n, _, err := store.One(t.Tx, store.Value[int], `SELECT count(*) FROM scale_sets`)
	if err == nil && n > file.MaxScaleSets {
		err = invalid("name", "is of one scale set too many: at most %d are allowed", file.MaxScaleSets)
	}
	return err
}

// checkCredential says whether the credential is there, and for the image.
func (r *Registry) checkCredential(t *tx, read *file.ScaleSet, s ScaleSet) error {
	if s.Credential == "" {
		return nil
	}
	all, err := t.credentials()
	if err != nil {
		return err
	}
	if problem, bad := r.wrongCredential(all, read, s); bad {
		return withoutPlaces(&file.Error{File: "scale set " + s.Key, Problems: []file.Problem{problem}})
	}
	return nil
}

func (r *Registry) wrongCredential(all map[string]RegistryCredential, read *file.ScaleSet, s ScaleSet) (problem file.Problem, bad bool) {
	c, found := all[s.Credential]
	switch image := r.image(s); {
	case s.Credential == "":
		return problem, false
	case !found:
		return read.Problem("credential", "there is no registry credential %q%s", s.Credential, file.Suggest(s.Credential, slices.Sorted(maps.Keys(all)))), true
	case imageRegistry(image) != c.Registry:
		return read.Problem("credential", "%s is for %s, and the image %q is not from there", c.Name, c.Registry, image), true
	}
	return problem, false
}
