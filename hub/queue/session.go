package queue

import (
	"context"
	"fmt"
	"time"

	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/template"
	"github.com/slipway-ci/slipway/tokens"
)

// sessionLifetime is that of a runner's session token.
const sessionLifetime = time.Hour

// Mode says how a session came to be.
type Mode string

// The modes. Stored and sent: add at the end only.
const (
	// ModeManual: by a registration token of many uses; claims jobs without end.
	ModeManual Mode = "manual"
	// ModeEphemeral: by a registration token of one use; claims one job.
	ModeEphemeral Mode = "ephemeral"
	// ModeActivation: by an activation token; claims one job.
	ModeActivation Mode = "activation"
)

// Session is a registered runner.
type Session struct {
	ID   string
	Mode Mode
	// MaxClaims is how many jobs it may claim; nil: any number.
	MaxClaims *int
	// Token is the session's JWT: a secret.
	Token string

	runner string
	labels []string
	claims int
}

// Register makes a session from a registration or activation token. Labels are
// canonical. Errors: ErrUnauthorized, ErrTokenExpired, ErrTokenRevoked,
// ErrTokenConsumed.
func (q *Queue) Register(ctx context.Context, text string, labels []string) (session Session, err error) {
	err = q.write(ctx, func(t *tx) error {
		token, err := t.authenticate(text, tokens.ManualRegistration, tokens.EphemeralRegistration, tokens.Activation)
		if err != nil {
			return err
		}
		session, err = t.register(token, labels)
		return err
	})
	if err != nil {
		return Session{}, fmt.Errorf("queue: register runner: %w", err)
	}
	session.Token, err = q.signer.session(session.ID)
	return session, err
}

func (t *tx) register(token Token, labels []string) (Session, error) {
	s := Session{ID: newID(), Mode: ModeManual, runner: token.runner, labels: labels}
	if token.Kind != tokens.ManualRegistration {
		if err := t.consume(token); err != nil {
			return s, err
		}
		one := 1
		s.MaxClaims, s.Mode = &one, ModeActivation
		if token.Kind == tokens.EphemeralRegistration {
			s.Mode = ModeEphemeral
		}
	}
	_, err := t.Exec(`INSERT INTO sessions (id, mode, runner_id, label_set, max_claims, created_at, expires_at) VALUES (?, ?, nullif(?, ''), ?, ?, ?, ?)`,
		s.ID, s.Mode, s.runner, joinLabels(labels), s.MaxClaims, millis(t.now), millis(t.now.Add(sessionLifetime)))
	if err != nil || s.runner == "" {
		return s, err
	}
	if _, err := t.Exec(`UPDATE runners SET session_id = ?, seen_at = ? WHERE id = ?`, s.ID, millis(t.now), s.runner); err != nil {
		return s, err
	}
	return s, t.hold(s.runner)
}

func scanSession(r store.Row) (s Session, err error) {
	var labels string
	err = r.Scan(&s.ID, &s.Mode, &s.runner, &labels, &s.MaxClaims, &s.claims)
	s.labels = splitLabels(labels)
	return s, err
}

// Claim is a job given to a runner.
type Claim struct {
	JobID string
	// Lease is the id of the lease.
	Lease string
	// LeaseToken is its JWT: a secret.
	LeaseToken string
	Attempt    int
}

// Claim gives the session a job: the one that is meant for its runner, else the
// oldest that its labels cover. found is false when none waits. ours says that
// the runner keeps the promises of a Slipway runner; one that claims again before
// it asked what to run gets the same claim, since its answer was lost. Errors: ErrUnauthorized,
// ErrSessionExhausted.
func (q *Queue) Claim(ctx context.Context, sessionToken string, ours bool) (claim Claim, found bool, err error) {
	id, err := q.signer.parseSession(sessionToken)
	if err != nil {
		return Claim{}, false, err
	}
	err = q.write(ctx, func(t *tx) error {
		claim, found, err = t.claim(id, ours)
		return err
	})
	if err != nil || !found {
		return Claim{}, false, wrap("queue: claim job", err)
	}
	claim.LeaseToken, err = q.signer.lease(claim.Lease, claim.JobID)
	return claim, err == nil, err
}

func wrap(deed string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", deed, err)
}

func (t *tx) claim(sessionID string, ours bool) (Claim, bool, error) {
	s, found, err := store.One(t.Tx, scanSession, `SELECT id, mode, coalesce(runner_id, ''), label_set, max_claims, claims
		FROM sessions WHERE id = ? AND expires_at > ?`, sessionID, millis(t.now))
	if err != nil || !found {
		if err == nil {
			err = ErrUnauthorized
		}
		return Claim{}, false, err
	}
	if s.MaxClaims != nil && s.claims >= *s.MaxClaims {
		return t.claimAgain(s, ours)
	}
	if s.runner != "" {
		r, found, err := t.runner(s.runner)
		if err != nil {
			return Claim{}, false, err
		}
		if !found || r.ended() || r.retired {
			return Claim{}, false, ErrSessionExhausted
		}
	}
	if t.q.cfg.StorageFull() {
		return Claim{}, false, nil
	}
	job, found, err := t.choose(s)
	if err != nil || !found {
		return Claim{}, false, err
	}
	claim, err := t.lease(s, job, ours)
	return claim, err == nil, err
}

// claimAgain repeats the answer to a Slipway runner that has not asked what to
// run: the first answer was lost. It is the same lease.
func (t *tx) claimAgain(s Session, ours bool) (Claim, bool, error) {
	if !ours {
		return Claim{}, false, ErrSessionExhausted
	}
	claim, found, err := store.One(t.Tx, func(r store.Row) (c Claim, err error) { return c, r.Scan(&c.Lease, &c.JobID, &c.Attempt) },
		`SELECT id, job_id, attempt FROM leases WHERE session_id = ? AND ended_at IS NULL AND ours AND taken_at IS NULL`, s.ID)
	if err == nil && !found {
		err = ErrSessionExhausted
	}
	return claim, found, err
}

// choose finds the job for a session: meant for its runner, of the runner's
// reservation, the oldest queued, or the oldest that was promised to a runner
// which does not exist yet.
func (t *tx) choose(s Session) (Job, bool, error) {
	if s.runner != "" {
		job, found, err := t.chooseOwn(s)
		if err != nil || found {
			return job, found, err
		}
	}
	job, found, err := t.oldestQueued(s.labels)
	if err != nil || found {
		return job, found, err
	}
	job, found, err = t.oldestPromised(s.labels)
	if err != nil || !found {
		return job, false, err
	}
	return job, true, t.vacated(job)
}

func (t *tx) chooseOwn(s Session) (Job, bool, error) {
	meant, err := t.meantFor(s.runner)
	if err != nil {
		return Job{}, false, err
	}
	for _, job := range meant {
		if template.Covers(s.labels, job.Labels) {
			return job, true, nil
		}
	}
	if len(meant) > 0 {
		return Job{}, false, t.requeueOf(s.runner, "runner has other labels")
	}
	r, _, err := t.runner(s.runner)
	if err != nil || r.reservation == "" {
		return Job{}, false, err
	}
	job, found, err := store.One(t.Tx, scanJob, `SELECT `+jobColumns+` FROM jobs WHERE reservation_id = ?
		AND state IN ('reserved', 'launched') AND runner_id IS NULL ORDER BY seq LIMIT 1`, r.reservation)
	return job, found && template.Covers(s.labels, job.Labels), err
}

// oldestPromised is the oldest job that labels cover and that was promised but is
// meant for no runner yet.
func (t *tx) oldestPromised(labels []string) (Job, bool, error) {
	sets, err := store.All(t.Tx, store.Value[string], `SELECT label_set FROM label_sets WHERE (queued > 0 OR reserved > 0) AND reserved > 0`)
	if err != nil {
		return Job{}, false, err
	}
	var oldest Job
	for _, set := range sets {
		if !template.Covers(labels, splitLabels(set)) {
			continue
		}
		job, found, err := store.One(t.Tx, scanJob, `SELECT `+jobColumns+` FROM jobs
			WHERE label_set = ? AND state = 'reserved' AND runner_id IS NULL ORDER BY seq LIMIT 1`, set)
		if err != nil {
			return Job{}, false, err
		}
		if found && (oldest.ID == "" || job.seq < oldest.seq) {
			oldest = job
		}
	}
	return oldest, oldest.ID != "", nil
}

func coversAll(labels []string, jobs []Job) bool {
	for _, job := range jobs {
		if !template.Covers(labels, job.Labels) {
			return false
		}
	}
	return true
}
