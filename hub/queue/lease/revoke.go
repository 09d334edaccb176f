package lease

import (
	"context"
	"fmt"

	"github.com/slipway-ci/slipway/hub/queue/access"
	"github.com/slipway-ci/slipway/hub/queue/ledger"
	"github.com/slipway-ci/slipway/hub/store"
)

// ReasonHostRemoved is why runners and jobs ended whose host was removed.
const ReasonHostRemoved = "host-removed"

// Revoked counts what Revoke did.
type Revoked struct {
	// Runners that had not ended.
	Runners int
	// Ended are jobs that are over; Again are those that wait for another runner.
	Ended, Again int
}

// Revoke ends runners from which nothing is accepted any more, in one write with
// choose, which names them by their ids in their provisioner's hands; unknown ones
// are passed over. Their registrations, sessions and leases are over when it
// returns, and reason is told as theirs.
//
// A job that waited for such a runner is free for another one at once. One that
// ran is over with the same reason, unless a retry is left to it: then it waits
// until its runner, which may be out of everybody's sight, must have ended by its
// own clock. So it runs nowhere twice at a time.
func (l *Leases) Revoke(ctx context.Context, reason string, choose func(*store.Tx) (runners []string, err error)) (revoked Revoked, err error) {
	err = l.ledger.Write(ctx, func(t *ledger.Tx) error {
		revoked = Revoked{}
		chosen, err := choose(t.Tx)
		if err != nil {
			return err
		}
		for _, id := range chosen {
			runners, err := t.RunnersWhere(`r.provisioner_id IN (SELECT id FROM provisioners) AND r.provider_runner_id = ?`, id)
			if err != nil {
				return err
			}
			for _, r := range runners {
				if err := revoke(t, r, reason, &revoked); err != nil {
					return err
				}
			}
		}
		if len(chosen) == 0 {
			return nil
		}
		return t.AdoptIdle()
	})
	if err != nil {
		return Revoked{}, fmt.Errorf("queue: revoke runners: %w", err)
	}
	return revoked, nil
}

// revoke ends one runner. What it waits for is given back first, as of one that
// ended by itself.
func revoke(t *ledger.Tx, r ledger.Runner, reason string, revoked *Revoked) error {
	if !r.Ended() {
		revoked.Runners++
	}
	if r.Session == "" && !r.Ended() {
		if _, err := t.Release(r); err != nil {
			return err
		}
	}
	now := ledger.Millis(t.Now)
	if _, err := t.Exec(`UPDATE runners SET state = 'terminated', reason = ?, intent = '', reported_at = coalesce(reported_at, ?),
		retired_at = coalesce(retired_at, ?), ended_at = coalesce(ended_at, ?) WHERE id = ?`, reason, now, now, now, r.ID); err != nil {
		return err
	}
	if err := access.RevokeOf(t, r.ID); err != nil {
		return err
	}
	if _, err := t.Exec(`UPDATE sessions SET expires_at = min(expires_at, ?) WHERE runner_id = ?`, now, r.ID); err != nil {
		return err
	}
	t.Wake(ledger.TopicProvisioner(r.Provisioner), ledger.TopicRunner(r.ID))
	waiting, err := t.MeantFor(r.ID)
	if err != nil {
		return err
	}
	revoked.Again += len(waiting)
	if err := t.RequeueOf(r.ID, reason); err != nil {
		return err
	}
	return revokeLeases(t, r, reason, revoked)
}

// revokeLeases ends the leases of a runner, and decides on its jobs.
func revokeLeases(t *ledger.Tx, r ledger.Runner, reason string, revoked *Revoked) error {
	leases, err := store.All(t.Tx, store.Value[string], `SELECT id FROM leases WHERE runner_id = ? AND ended_at IS NULL AND ended_by = ''`, r.ID)
	if err != nil {
		return err
	}
	for _, id := range leases {
		lease, _, err := t.Lease(id)
		if err != nil {
			return err
		}
		job, err := t.Job(lease.JobID)
		if err != nil {
			return err
		}
		fate, err := fateOf(t, job, lease, false)
		if err != nil {
			return err
		}
		if fate.Again {
			revoked.Again++
		} else {
			revoked.Ended++
		}
		if err := revokeLease(t, job, lease, fate, reason); err != nil {
			return err
		}
	}
	return nil
}

// revokeLease ends a lease. A job that may have begun, and is to run again, keeps
// it until it runs out: nobody can use it, and nobody else gets the job meanwhile.
func revokeLease(t *ledger.Tx, job ledger.Job, lease ledger.Lease, fate fate, reason string) error {
	if fate.Again && lease.Taken {
		if err := t.RefuseLease(lease.ID); err != nil {
			return err
		}
		if _, err := t.Exec(`UPDATE jobs SET reason = ? WHERE id = ?`, reason, job.ID); err != nil {
			return err
		}
		return t.AddEvent(job.ID, job.State, job.Attempt, job.Runner, reason)
	}
	if err := t.EndLease(lease.ID, ledger.EndedByLoss); err != nil {
		return err
	}
	if fate.Again {
		return t.Requeue(job, reason)
	}
	return t.Finish(job, fate.State, reason, nil, job.LogBytes)
}
