package lease

import (
	"context"
	"fmt"

	"github.com/slipway-ci/slipway/hub/queue/access"
	"github.com/slipway-ci/slipway/hub/queue/ledger"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/template"
)

// Claim is a job given to a runner.
type Claim struct {
	// JobID is the job's.
	JobID string
	// Lease is the id of the lease.
	Lease string
	// LeaseToken is its JWT: a secret.
	LeaseToken string
	// Attempt is the number of this claim of the job: 1 for the first.
	Attempt int
}

// Claim gives the session a job: the one that is meant for its runner, else the
// oldest that its labels cover. found is false when none waits. ours says that
// the runner keeps the promises of a Slipway runner; one that claims again before
// it asked what to run gets the same claim, since its answer was lost. Errors: ErrUnauthorized,
// ErrSessionExhausted.
func (l *Leases) Claim(ctx context.Context, sessionToken string, ours bool) (claim Claim, found bool, err error) {
	id, err := l.signer.parseSession(sessionToken)
	if err != nil {
		return Claim{}, false, err
	}
	err = l.ledger.Write(ctx, func(t *ledger.Tx) error {
		claim, found, err = l.claim(t, id, ours)
		return err
	})
	if err != nil {
		err = fmt.Errorf("queue: claim job: %w", err)
	}
	if err != nil || !found {
		return Claim{}, false, err
	}
	claim.LeaseToken, err = l.signer.lease(claim.Lease, claim.JobID)
	return claim, err == nil, err
}

func (l *Leases) claim(t *ledger.Tx, sessionID string, ours bool) (Claim, bool, error) {
	s, found, err := store.One(t.Tx, scanSession, `SELECT id, mode, coalesce(runner_id, ''), label_set, max_claims, claims
		FROM sessions WHERE id = ? AND expires_at > ?`, sessionID, ledger.Millis(t.Now))
	if err != nil || !found {
		if err == nil {
			err = access.ErrUnauthorized
		}
		return Claim{}, false, err
	}
	if ours {
		if claim, found, err := claimAgain(t, s); err != nil || found {
			return claim, found, err
		}
	}
	if s.MaxClaims != nil && s.claims >= *s.MaxClaims {
		return Claim{}, false, ErrSessionExhausted
	}
	if s.runner != "" {
		r, found, err := t.Runner(s.runner)
		if err != nil {
			return Claim{}, false, err
		}
		if !found || r.Ended() || r.Retired {
			return Claim{}, false, ErrSessionExhausted
		}
	}
	if l.ledger.StorageFull() {
		return Claim{}, false, nil
	}
	job, found, err := choose(t, s)
	if err != nil || !found {
		return Claim{}, false, err
	}
	lease, err := t.GrantLease(s.ID, s.runner, job, ours)
	return Claim{JobID: job.ID, Lease: lease.ID, Attempt: lease.Attempt}, err == nil, err
}

// claimAgain repeats the answer to a Slipway runner that has not asked what to
// run: the first answer was lost. It is the same lease.
func claimAgain(t *ledger.Tx, s Session) (Claim, bool, error) {
	if s.claims == 0 {
		return Claim{}, false, nil
	}
	return store.One(t.Tx, func(r store.Row) (c Claim, err error) { return c, r.Scan(&c.Lease, &c.JobID, &c.Attempt) },
		`SELECT id, job_id, attempt FROM leases WHERE session_id = ? AND ended_at IS NULL AND ours AND taken_at IS NULL`, s.ID)
}

// choose finds the job for a session: meant for its runner, of the runner's
// reservation, the oldest queued, or the oldest that was promised to a runner
// which does not exist yet.
func choose(t *ledger.Tx, s Session) (ledger.Job, bool, error) {
	if s.runner != "" {
		job, found, err := chooseOwn(t, s)
		if err != nil || found {
			return job, found, err
		}
	}
	job, found, err := t.OldestQueued(s.labels)
	if err != nil || found {
		return job, found, err
	}
	job, found, err = oldestPromised(t, s.labels)
	if err != nil || !found {
		return job, false, err
	}
	return job, true, t.Vacated(job)
}

func chooseOwn(t *ledger.Tx, s Session) (ledger.Job, bool, error) {
	meant, err := t.MeantFor(s.runner)
	if err != nil {
		return ledger.Job{}, false, err
	}
	for _, job := range meant {
		if template.Covers(s.labels, job.Labels) {
			return job, true, nil
		}
	}
	if len(meant) > 0 {
		return ledger.Job{}, false, t.RequeueOf(s.runner, "runner has other labels")
	}
	r, _, err := t.Runner(s.runner)
	if err != nil || r.Reservation == "" {
		return ledger.Job{}, false, err
	}
	job, found, err := t.JobWhere(`reservation_id = ?
		AND state IN ('reserved', 'launched') AND runner_id IS NULL ORDER BY seq LIMIT 1`, r.Reservation)
	return job, found && template.Covers(s.labels, job.Labels), err
}

// oldestPromised is the oldest job that labels cover and that was promised but is
// meant for no runner yet.
func oldestPromised(t *ledger.Tx, labels []string) (ledger.Job, bool, error) {
	sets, err := store.All(t.Tx, store.Value[string], `SELECT label_set FROM label_sets WHERE (queued > 0 OR reserved > 0) AND reserved > 0`)
	if err != nil {
		return ledger.Job{}, false, err
	}
	var oldest ledger.Job
	for _, set := range sets {
		if !template.Covers(labels, ledger.SplitLabels(set)) {
			continue
		}
		job, found, err := t.JobWhere(`label_set = ? AND state = 'reserved' AND runner_id IS NULL ORDER BY seq LIMIT 1`, set)
		if err != nil {
			return ledger.Job{}, false, err
		}
		if found && (oldest.ID == "" || job.Seq < oldest.Seq) {
			oldest = job
		}
	}
	return oldest, oldest.ID != "", nil
}

func coversAll(labels []string, jobs []ledger.Job) bool {
	for _, job := range jobs {
		if !template.Covers(labels, job.Labels) {
			return false
		}
	}
	return true
}

func scanSession(r store.Row) (s Session, err error) {
	var labels string
	err = r.Scan(&s.ID, &s.Mode, &s.runner, &labels, &s.MaxClaims, &s.claims)
	s.labels = ledger.SplitLabels(labels)
	return s, err
}
