package lease

import (
	"context"
	"errors"

	"github.com/slipway-ci/slipway/hub/queue/jobs"
	"github.com/slipway-ci/slipway/hub/queue/ledger"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/hub/vault"
)

// CheckLease reads a lease token. Errors: ErrUnauthorized, ErrLeaseEnded.
func (l *Leases) CheckLease(ctx context.Context, token string) (lease ledger.Lease, err error) {
	id, _, err := l.signer.parseLease(token)
	if err != nil {
		return ledger.Lease{}, err
	}
	err = l.ledger.Read(ctx, func(t *ledger.Tx) error {
		lease, err = t.LiveLease(id)
		return err
	})
	return lease, err
}

// WithLease runs do in one write with the check that the lease has not ended: so
// what do stores is stored with a live lease, or not at all. Errors of the check
// are CheckLease's.
func (l *Leases) WithLease(ctx context.Context, token string, do func(*store.Tx, ledger.Lease) error) error {
	id, _, err := l.signer.parseLease(token)
	if err != nil {
		return err
	}
	return l.ledger.Write(ctx, func(t *ledger.Tx) error {
		lease, err := t.LiveLease(id)
		if err != nil {
			return err
		}
		return do(t.Tx, lease)
	})
}

// LeasedJob is what the holder of a lease is told of its job.
type LeasedJob struct {
	Lease ledger.Lease // the one that was asked with
	Job   ledger.Job   // without the values of its environment
	// Env holds the values too.
	Env map[string]string
}

// LeasedJob tells a Slipway runner what to run. Asking marks the lease as held by
// one, which keeps the promise to end with its lease, and as taken: from here on
// the job may have begun. A job whose environment was sealed with a key that was given
// up ends as failed. Errors are CheckLease's.
func (l *Leases) LeasedJob(ctx context.Context, token string) (leased LeasedJob, err error) {
	id, _, err := l.signer.parseLease(token)
	if err != nil {
		return LeasedJob{}, err
	}
	var sealed []byte
	err = l.ledger.Write(ctx, func(t *ledger.Tx) error {
		if leased.Lease, err = t.LiveLease(id); err != nil {
			return err
		}
		if leased.Job, err = t.Job(leased.Lease.JobID); err != nil {
			return err
		}
		if _, err := t.Exec(`UPDATE leases SET ours = 1, taken_at = coalesce(taken_at, ?) WHERE id = ?`, ledger.Millis(t.Now), id); err != nil {
			return err
		}
		sealed, _, err = store.One(t.Tx, store.Value[[]byte], `SELECT env FROM jobs WHERE id = ?`, leased.Job.ID)
		return err
	})
	if err != nil {
		return LeasedJob{}, err
	}
	leased.Env, err = jobs.OpenEnv(l.cfg.Vault, leased.Job.ID, sealed)
	if errors.Is(err, vault.ErrKey) || errors.Is(err, vault.ErrSealed) { // it never can be
		result := Result{Outcome: OutcomeFailed, Reason: ReasonEnvironment + ": it can't be read, since its master key is gone: submit the job anew"}
		return LeasedJob{}, errors.Join(ErrLeaseEnded, err, l.finish(ctx, id, result))
	}
	return leased, err
}

// ReasonEnvironment begins the reason of a job whose environment can't be read any more.
const ReasonEnvironment = "environment-unreadable"

// Renewal is the answer to a heartbeat.
type Renewal struct {
	// Cancel asks the runner to end the job.
	Cancel bool
	// LeaseToken is a new JWT for the same lease: a secret.
	LeaseToken string
}

// Renew keeps a lease alive. It asks the book alone, which is kept in step with what is
// on disk: thousands of runners renew all the time. Errors: ErrUnauthorized, ErrLeaseJob, ErrLeaseEnded.
func (l *Leases) Renew(_ context.Context, token, jobID string) (Renewal, error) {
	id, leased, err := l.signer.parseLease(token)
	if err != nil {
		return Renewal{}, err
	}
	if leased != jobID {
		return Renewal{}, ErrLeaseJob
	}
	cancel, lives := l.ledger.Book.Renew(id)
	if !lives {
		return Renewal{}, ErrLeaseEnded
	}
	renewal := Renewal{Cancel: cancel}
	renewal.LeaseToken, err = l.signer.lease(id, jobID)
	return renewal, err
}
