package scalesets

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/template/file"
)

// Registry holds the scale sets and the credentials. Its methods may be called from
// many goroutines.
type Registry struct {
	cfg     Config
	store   *store.Store
	log     hclog.Logger
	opts    file.Options
	changed chan struct{}
}

// New opens the registry in cfg.Store.
func New(ctx context.Context, cfg Config) (*Registry, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	r := &Registry{
		cfg: cfg, store: cfg.Store, log: cfg.Logger,
		opts: file.Options{AllowedBinds: cfg.AllowedBinds}, changed: make(chan struct{}, 1),
	}
	if _, err := file.ParseScaleSets("none", []byte("{version: 1, scale_sets: {}}"), r.opts); err != nil {
		return nil, fmt.Errorf("%w: AllowedBinds: %w", ErrConfig, err)
	}
	if _, err := r.Templates(ctx, ""); err != nil { // what is stored can be read
		return nil, err
	}
	return r, nil
}

// Changed tells that scale sets or credentials were edited since it was last read.
// It is one channel for all: one goroutine reads it, and asks for everything anew.
func (r *Registry) Changed() <-chan struct{} { return r.changed }

// tx is a transaction: what it tells is told once it is on disk.
type tx struct {
	*store.Tx
	now  time.Time
	told []event
}

type event struct{ kind, object, text string }

func (t *tx) tell(kind, object, text string) { t.told = append(t.told, event{kind, object, text}) }

func (r *Registry) write(ctx context.Context, do func(*tx) error) error {
	var t *tx
	err := r.store.Write(ctx, func(s *store.Tx) error {
		t = &tx{Tx: s, now: time.Now()}
		return do(t)
	})
	if err != nil || len(t.told) == 0 {
		return err
	}
	select {
	case r.changed <- struct{}{}:
	default: // it will be read with what came before
	}
	for _, e := range t.told {
		r.log.Info(e.kind, "object", e.object, "what", e.text)
		r.cfg.Events(e.kind, e.object, e.text)
	}
	return nil
}

func (r *Registry) read(ctx context.Context, do func(*tx) error) error {
	return r.store.Read(ctx, func(s *store.Tx) error { return do(&tx{Tx: s}) })
}

// clock counts the edits.
func (t *tx) clock() (version int64, err error) {
	version, _, err = store.One(t.Tx, store.Value[int64], `SELECT version FROM scale_set_clock`)
	return version, err
}

func (t *tx) tick() (int64, error) {
	if _, err := t.Exec(`UPDATE scale_set_clock SET version = version + 1`); err != nil {
		return 0, err
	}
	return t.clock()
}

const columns = `name, control_plane, spec, version, created_at, updated_at`

func scan(row store.Row) (s ScaleSet, err error) {
	var name, plane, spec string
	var version, created, updated int64
	if err := row.Scan(&name, &plane, &spec, &version, &created, &updated); err != nil {
		return s, err
	}
	var d plain
	if err := json.Unmarshal([]byte(spec), &d); err != nil {
		return s, fmt.Errorf("read %s: %w", name, err)
	}
	s = d.scaleSet(name)
	s.ControlPlane, s.Version = plane, version
	s.CreatedAt, s.UpdatedAt = time.UnixMilli(created).UTC(), time.UnixMilli(updated).UTC()
	return s, nil
}

func (t *tx) scaleSet(name string) (s ScaleSet, found bool, err error) {
	return store.One(t.Tx, scan, `SELECT `+columns+` FROM scale_sets WHERE name = ?`, name)
}

func (t *tx) scaleSets() ([]ScaleSet, error) {
	return store.All(t.Tx, scan, `SELECT `+columns+` FROM scale_sets ORDER BY name`)
}

// put writes a scale set, new or not, and returns it as it is then.
func (t *tx) put(s ScaleSet) (ScaleSet, error) {
	spec, err := json.Marshal(documentOf(s, s.Hosts))
	if err != nil {
		return s, err
	}
	version, err := t.tick()
	if err != nil {
		return s, err
	}
	now := t.now.UnixMilli()
	_, err = t.Exec(`INSERT INTO scale_sets (name, control_plane, credential, spec, version, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (name) DO UPDATE SET control_plane = excluded.control_plane, credential = excluded.credential,
			spec = excluded.spec, version = excluded.version, updated_at = excluded.updated_at`,
		s.Key, s.ControlPlane, s.Credential, string(spec), version, now, now)
	if err != nil {
		return s, err
	}
	s, _, err = t.scaleSet(s.Key)
	return s, err
}

func (t *tx) remove(name string) error {
	if _, err := t.tick(); err != nil {
		return err
	}
	_, err := t.Exec(`DELETE FROM scale_sets WHERE name = ?`, name)
	return err
}
