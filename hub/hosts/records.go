package hosts

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/tokens"
)

// records are the fleet's, in the database: each Save is one write, and on disk
// when it returns.
type records struct{ registry *Registry }

var _ fleet.Store = records{}

// Records is where the fleet keeps what it must know of runners after a restart:
// for fleet.Config.
func (r *Registry) Records() fleet.Store { return records{r} }

// Load gives every record.
func (s records) Load(ctx context.Context) (list []fleet.Record, err error) {
	err = s.registry.read(ctx, func(t *tx) error {
		list, err = store.All(t.Tx, scanRecord, `SELECT record FROM host_runners ORDER BY runner`)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("hosts: load records: %w", err)
	}
	return list, nil
}

// scanRecord reads a record as Save stored it: fields that it has gained since are
// zero.
func scanRecord(row store.Row) (r fleet.Record, err error) {
	var text string
	if err := row.Scan(&text); err != nil {
		return r, err
	}
	return r, json.Unmarshal([]byte(text), &r)
}

// Save is fleet.Store's. A record of a host that was removed is not kept: a launch
// that was on its way there is too late, and its runner is revoked before Save
// returns, so that it gets no job should it start.
func (s records) Save(ctx context.Context, put []fleet.Record, gone []string) error {
	var late []string
	err := s.registry.write(ctx, func(t *tx) error {
		late = nil
		removed := map[string]bool{}
		for _, record := range put {
			if _, known := removed[record.Host]; !known {
				var err error
				if removed[record.Host], err = t.removed(record.Host); err != nil {
					return err
				}
			}
			if removed[record.Host] {
				late = append(late, record.Runner)
				continue
			}
			if err := t.putRecord(record); err != nil {
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
		_, err = s.registry.revoke(ctx, func(*tx) ([]string, error) { return late, nil })
	}
	if err != nil {
		return fmt.Errorf("hosts: save records: %w", err)
	}
	return nil
}

func (t *tx) removed(host string) (bool, error) {
	removed, _, err := store.One(t.Tx, store.Value[bool], `SELECT removed_at IS NOT NULL FROM hosts WHERE id = ?`, host)
	return removed, err
}

func (t *tx) putRecord(record fleet.Record) error {
	text, err := json.Marshal(record)
	if err != nil {
		return err
	}
	_, err = t.Exec(`INSERT INTO host_runners (runner, host_id, record) VALUES (?, ?, ?)
		ON CONFLICT (runner) DO UPDATE SET host_id = excluded.host_id, record = excluded.record`, record.Runner, record.Host, string(text))
	return err
}

// runnersOf are the ids of the runners that may be on a host.
func (t *tx) runnersOf(host string) ([]string, error) {
	return store.All(t.Tx, store.Value[string], `SELECT runner FROM host_runners WHERE host_id = ? ORDER BY runner`, host)
}

// revoke is the queue's Revoke, in one write with choose; without a queue it is
// choose alone.
func (r *Registry) revoke(ctx context.Context, choose func(*tx) ([]string, error)) (revoked queue.Revoked, err error) {
	if r.cfg.Queue == nil {
		return revoked, r.write(ctx, func(t *tx) error {
			_, err := choose(t)
			return err
		})
	}
	var then []func()
	revoked, err = r.cfg.Queue.Revoke(ctx, queue.ReasonHostRemoved, func(s *store.Tx) ([]string, error) {
		t := newTx(s)
		chosen, err := choose(t)
		then = t.then
		return chosen, err
	})
	if err != nil {
		return revoked, err
	}
	for _, do := range then {
		do()
	}
	if revoked.Runners > 0 {
		r.log.Info("runners revoked", "reason", queue.ReasonHostRemoved, "runners", revoked.Runners, "jobs_ended", revoked.Ended, "jobs_again", revoked.Again)
	}
	return revoked, nil
}

// redacted is an error's text as it may be logged and shown.
func redacted(err error) string { return tokens.Redact(err.Error()) }
