package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/slipway-ci/slipway/hub/store"
)

// What ended a lease. Stored: add at the end only.
const (
	EndedByResult = "result"
	EndedByLoss   = "lost"
	EndedByCancel = "cancel"
)

// Lease is what a runner holds on a job.
type Lease struct {
	// ID is the lease's, JobID that of its job.
	ID, JobID string
	// Attempt counts the claims of the job: 1 for the first.
	Attempt int
	// EndedBy is empty while the lease lives.
	EndedBy string
	// Ours: its runner keeps the promises of a Slipway runner. Taken: it asked what
	// to run.
	Ours, Taken bool
	// Runner is the queue's id of its runner; empty: one that no provisioner launched.
	Runner string
}

// GrantLease gives a job to a session, and to its runner where it has one. The
// unique index on live leases of a job makes a second one impossible.
func (t *Tx) GrantLease(session, runner string, job Job, ours bool) (Lease, error) {
	l := Lease{ID: NewID(), JobID: job.ID, Attempt: job.Attempt + 1, Ours: ours, Runner: runner}
	_, err := t.Exec(`INSERT INTO leases (id, job_id, session_id, runner_id, attempt, ours, created_at) VALUES (?, ?, ?, nullif(?, ''), ?, ?, ?)`,
		l.ID, job.ID, session, runner, l.Attempt, ours, Millis(t.Now))
	if err != nil {
		return l, err
	}
	if _, err := t.Exec(`UPDATE sessions SET claims = claims + 1 WHERE id = ?`, session); err != nil {
		return l, err
	}
	if err := t.start(job, l.ID, runner); err != nil {
		return l, err
	}
	t.After(func() { t.ledger.expiresAt(t.ledger.Book.Add(l.ID, job.Timeout)) })
	return l, nil
}

// Lease finds a lease by its id.
func (t *Tx) Lease(id string) (Lease, bool, error) {
	return store.One(t.Tx, func(r store.Row) (l Lease, err error) {
		return l, r.Scan(&l.ID, &l.JobID, &l.Attempt, &l.EndedBy, &l.Ours, &l.Taken, &l.Runner)
	}, `SELECT id, job_id, attempt, ended_by, ours, taken_at IS NOT NULL, coalesce(runner_id, '') FROM leases WHERE id = ?`, id)
}

// LiveLease finds a lease that has not ended, or says ErrLeaseEnded.
func (t *Tx) LiveLease(id string) (Lease, error) {
	l, found, err := t.Lease(id)
	if err == nil && (!found || l.EndedBy != "") {
		err = ErrLeaseEnded
	}
	return l, err
}

// EndLease ends a lease for good: nothing that comes with it is stored from here on.
func (t *Tx) EndLease(id, by string) error {
	n, err := t.Exec(`UPDATE leases SET ended_at = ?, ended_by = ? WHERE id = ? AND ended_at IS NULL`, Millis(t.Now), by, id)
	if err == nil && n == 0 {
		err = ErrLeaseEnded
	}
	t.After(func() { t.ledger.Book.Remove(id) })
	return err
}

// RefuseLease makes a lease useless without ending it: nobody else gets its job before
// it has run out.
func (t *Tx) RefuseLease(id string) error {
	_, err := t.Exec(`UPDATE leases SET ended_by = ? WHERE id = ? AND ended_at IS NULL`, EndedByLoss, id)
	t.After(func() { t.ledger.Book.Refuse(id) })
	return err
}

// LoadLeases gives every lease that had not ended a full life in the book.
func (l *Ledger) LoadLeases(ctx context.Context) error {
	type row struct {
		id                 string
		timeout            int64
		started            *int64
		refused, cancelled bool
	}
	var rows []row
	err := l.Read(ctx, func(t *Tx) (err error) {
		rows, err = store.All(t.Tx, func(r store.Row) (v row, err error) {
			return v, r.Scan(&v.id, &v.timeout, &v.started, &v.refused, &v.cancelled)
		}, `SELECT l.id, j.timeout, j.started_at, l.ended_by <> '', j.cancel_requested_at IS NOT NULL
			FROM leases l JOIN jobs j ON j.id = l.job_id WHERE l.ended_at IS NULL`)
		return err
	})
	if err != nil {
		return fmt.Errorf("queue: load leases: %w", err)
	}
	for _, r := range rows {
		left := time.Duration(r.timeout) * time.Millisecond
		if started := FromNullable(r.started); !started.IsZero() {
			left -= max(time.Since(started), 0)
		}
		l.Book.Add(r.id, left)
		if r.refused {
			l.Book.Refuse(r.id)
		}
		if r.cancelled {
			l.Book.Cancel(r.id)
		}
	}
	return nil
}
