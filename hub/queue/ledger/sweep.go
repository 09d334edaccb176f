package ledger

import "time"

// Sweep deletes what is of no use any more, at most limit rows of each table:
// reservations that expired before dead, sessions and runners that ended before ended.
// Runners of which nothing was heard since then are ended.
func (t *Tx) Sweep(dead, ended time.Time, limit int) error {
	for _, stmt := range []struct {
		query  string
		before time.Time
	}{
		{`DELETE FROM reservations WHERE id IN (SELECT id FROM reservations WHERE expires_at < ? LIMIT ?)`, dead},
		{`DELETE FROM sessions WHERE id IN (SELECT s.id FROM sessions s WHERE s.expires_at < ? AND s.runner_id IS NULL LIMIT ?)`, ended},
		{`DELETE FROM runners WHERE id IN (SELECT r.id FROM runners r WHERE r.ended_at < ?
			AND NOT EXISTS (SELECT 1 FROM leases l WHERE l.runner_id = r.id AND l.ended_at IS NULL) LIMIT ?)`, ended},
	} {
		if _, err := t.Exec(stmt.query, Millis(stmt.before), limit); err != nil {
			return err
		}
	}
	// What a provisioner lost between mint and launch is never reported.
	_, err := t.Exec(`UPDATE runners SET state = 'terminated', reason = 'never heard of again', ended_at = ? WHERE id IN (
		SELECT r.id FROM runners r WHERE r.ended_at IS NULL AND r.seen_at < ?
		AND NOT EXISTS (SELECT 1 FROM leases l WHERE l.runner_id = r.id AND l.ended_at IS NULL) LIMIT ?)`, Millis(t.Now), Millis(ended), limit)
	return err
}
