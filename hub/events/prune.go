package events

import (
	"context"
	"fmt"
	"time"

	"github.com/slipway-ci/slipway/hub/store"
)

// settingPruned is the id up to which events may have been deleted.
const settingPruned = "events_pruned"

// sweep is how many rows one transaction deletes.
const sweep = 2000

// Prune deletes some of what is older than is kept at a time and returns how many
// rows that were; 0: there is no more.
func (l *Log) Prune(ctx context.Context, now time.Time) (n int64, err error) {
	err = l.store.Write(ctx, func(tx *store.Tx) error {
		n = 0
		for _, part := range []func(*store.Tx, time.Time) (int64, error){l.pruneEvents, l.pruneAudit} {
			deleted, err := part(tx, now)
			if err != nil {
				return err
			}
			n += deleted
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("events: delete old ones: %w", err)
	}
	return n, nil
}

func (l *Log) pruneEvents(tx *store.Tx, now time.Time) (int64, error) {
	// What is old by its time goes up to the newest such one, so that what is kept
	// has no holes, whatever the clock did.
	upTo, found, err := store.One(tx, store.Value[int64], `SELECT coalesce(max(
		(SELECT coalesce(max(seq), 0) FROM events WHERE at < ?),
		coalesce((SELECT seq FROM events ORDER BY seq DESC LIMIT 1 OFFSET ?), 0)), 0)`, now.Add(-l.cfg.Keep).UnixMilli(), l.cfg.Most)
	if err != nil || !found || upTo == 0 {
		return 0, err
	}
	n, err := tx.Exec(`DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE seq <= ? ORDER BY seq LIMIT ?)`, upTo, sweep)
	if err != nil || n == 0 {
		return 0, err
	}
	_, err = tx.Exec(`INSERT INTO settings (name, value) VALUES (?, CAST(min(?, coalesce((SELECT min(seq) FROM events) - 1, ?)) AS TEXT))
		ON CONFLICT (name) DO UPDATE SET value = excluded.value`, settingPruned, upTo, upTo)
	return n, err
}

func (l *Log) pruneAudit(tx *store.Tx, now time.Time) (int64, error) {
	// An hour more than the database itself insists on: its clock is read later.
	floor := now.Add(-leastAudit - time.Hour).UnixMilli()
	var n int64
	for _, part := range []struct {
		query string
		args  []any
	}{
		{`SELECT seq FROM audit WHERE at < ? AND at < ? ORDER BY at LIMIT ?`, []any{now.Add(-l.cfg.KeepAudit).UnixMilli(), floor, sweep}},
		{`SELECT seq FROM audit WHERE routine = 1 AND seq <= (SELECT seq FROM audit WHERE routine = 1 ORDER BY seq DESC LIMIT 1 OFFSET ?) ORDER BY seq LIMIT ?`,
			[]any{l.cfg.MostRoutine, sweep}},
		{`SELECT seq FROM audit WHERE at < ? AND seq <= (SELECT seq FROM audit ORDER BY seq DESC LIMIT 1 OFFSET ?) ORDER BY seq LIMIT ?`,
			[]any{floor, l.cfg.MostAudit, sweep}},
	} {
		deleted, err := tx.Exec(`DELETE FROM audit WHERE seq IN (`+part.query+`)`, part.args...)
		if err != nil {
			return n, err
		}
		n += deleted
	}
	return n, nil
}
