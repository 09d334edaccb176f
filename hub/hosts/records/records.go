// Package records keeps a fleet's records in the hub's database: what must be known of
// the runners on hosts after a restart.
package records

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/hub/store"
)

// Store is a fleet's: each Save is one write, and on disk when it returns.
type Store struct {
	// DB has the table.
	DB *store.Store
	// TooLate is told of runners whose record was not kept, since their host was removed:
	// they are to get no job.
	TooLate func(ctx context.Context, runners []string) error
}

var _ fleet.Store = Store{}

// Load gives every record.
func (s Store) Load(ctx context.Context) (list []fleet.Record, err error) {
	err = s.DB.Read(ctx, func(t *store.Tx) error {
		list, err = store.All(t, scan, `SELECT record FROM host_runners ORDER BY runner`)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("hosts: load records: %w", err)
	}
	return list, nil
}

// scan reads a record as Save stored it: fields that it has gained since are zero.
func scan(row store.Row) (r fleet.Record, err error) {
	var text string
	if err := row.Scan(&text); err != nil {
		return r, err
	}
	return r, json.Unmarshal([]byte(text), &r)
}

// Save is fleet.Store's. A record of a host that was removed is not kept: a launch
// that was on its way there is too late, and its runner is revoked before Save
// returns, so that it gets no job should it start.
func (s Store) Save(ctx context.Context, put []fleet.Record, gone []string) error {
	var late []string
	err := s.DB.Write(ctx, func(t *store.Tx) error {
		late = nil
		removed := map[string]bool{}
		for _, record := range put {
			if _, known := removed[record.Host]; !known {
				var err error
				if removed[record.Host], err = wasRemoved(t, record.Host); err != nil {
					return err
				}
			}
			if removed[record.Host] {
				late = append(late, record.Runner)
				continue
			}
			if err := keep(t, record); err != nil {
				return err
			}
		}
		for _, id := range gone {
			if _, err := t.Exec(`DELETE FROM host_runners WHERE runner = ?`, id); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && len(late) > 0 {
		err = s.TooLate(ctx, late)
	}
	if err != nil {
		return fmt.Errorf("hosts: save records: %w", err)
	}
	return nil
}

func wasRemoved(t *store.Tx, host string) (bool, error) {
	removed, _, err := store.One(t, store.Value[bool], `SELECT removed_at IS NOT NULL FROM hosts WHERE id = ?`, host)
	return removed, err
}

func keep(t *store.Tx, record fleet.Record) error {
	text, err := json.Marshal(record)
	if err != nil {
		return err
	}
	_, err = t.Exec(`INSERT INTO host_runners (runner, host_id, record) VALUES (?, ?, ?)
		ON CONFLICT (runner) DO UPDATE SET host_id = excluded.host_id, record = excluded.record`, record.Runner, record.Host, string(text))
	return err
}

// Of are the ids of the runners that may be on a host.
func Of(t *store.Tx, host string) ([]string, error) {
	return store.All(t, store.Value[string], `SELECT runner FROM host_runners WHERE host_id = ? ORDER BY runner`, host)
}

// Drop forgets those of a host.
func Drop(t *store.Tx, host string) error {
	_, err := t.Exec(`DELETE FROM host_runners WHERE host_id = ?`, host)
	return err
}
