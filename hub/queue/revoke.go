package queue

import (
	"context"
	"fmt"

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
func (q *Queue) Revoke(ctx context.Context, reason string, choose func(*store.Tx) (runners []string, err error)) (revoked Revoked, err error) {
	err = q.write(ctx, func(t *tx) error {
		revoked = Revoked{}
		chosen, err := choose(t.Tx)
		if err != nil {
			return err
		}
		for _, id := range chosen {
			runners, err := store.All(t.Tx, scanRunner,
				runnerQuery+`r.provisioner_id IN (SELECT id FROM provisioners) AND r.provider_runner_id = ?`, id)
			if err != nil {
				return err
			}
			for _, r := range runners {
				if err := t.revoke(r, reason, &revoked); err != nil {
					return err
				}
			}
		}
		if len(chosen) == 0 {
			return nil
		}
		return t.adoptIdle()
	})
	if err != nil {
		return Revoked{}, fmt.Errorf("queue: revoke runners: %w", err)
	}
	return revoked, nil
}

// revoke ends one runner. What it waits for is given back first, as of one that
// ended by itself.
func (t *tx) revoke(r runner, reason string, revoked *Revoked) error {
	if !r.ended() {
		revoked.Runners++
	}
	if r.session == "" && !r.ended() {
		if _, err := t.release(r); err != nil {
			return err
		}
	}
	now := millis(t.now)
	if _, err := t.Exec(`UPDATE runners SET state = 'terminated', reason = ?, intent = '', reported_at = coalesce(reported_at, ?),
		retired_at = coalesce(retired_at, ?), ended_at = coalesce(ended_at, ?) WHERE id = ?`, reason, now, now, now, r.id); err != nil {
		return err
	}
	if _, err := t.Exec(`UPDATE tokens SET revoked_at = ? WHERE runner_id = ? AND revoked_at IS NULL`, now, r.id); err != nil {
		return err
	}
	if _, err := t.Exec(`UPDATE sessions SET expires_at = min(expires_at, ?) WHERE runner_id = ?`, now, r.id); err != nil {
		return err
	}
	t.wake(topicProvisioner(r.provisioner), topicRunner(r.id))
	waiting, err := t.meantFor(r.id)
	if err != nil {
		return err
	}
	revoked.Again += len(waiting)
	if err := t.requeueOf(r.id, reason); err != nil {
		return err
	}
	return t.revokeLeases(r, reason, revoked)
}

// revokeLeases ends the leases of a runner, and decides on its jobs.
func (t *tx) revokeLeases(r runner, reason string, revoked *Revoked) error {
	leases, err := store.All(t.Tx, store.Value[string], `SELECT id FROM leases WHERE runner_id = ? AND ended_at IS NULL AND ended_by = ''`, r.id)
	if err != nil {
		return err
	}
	for _, id := range leases {
		lease, _, err := t.leaseRow(id)
		if err != nil {
			return err
		}
		job, err := t.job(lease.JobID)
		if err != nil {
			return err
		}
		fate, err := t.fateOf(job, lease)
		if err != nil {
			return err
		}
		if fate.Again {
			revoked.Again++
		} else {
			revoked.Ended++
		}
		if err := t.revokeLease(job, lease, fate, reason); err != nil {
			return err
		}
	}
	return nil
}

// fateOf decides on a job whose lease is revoked, as lapse does.
func (t *tx) fateOf(job Job, lease Lease) (fate, error) {
	known := loss{
		Ours: lease.ours, Cancelled: !job.CancelRequestedAt.IsZero(), Unused: lease.ours && !lease.taken, Retries: job.Retries,
	}
	known, _, err := store.One(t.Tx, func(r store.Row) (loss, error) { return known, r.Scan(&known.Lost, &known.LostUnused) },
		`SELECT count(taken_at) + count(CASE WHEN taken_at IS NULL AND NOT ours THEN 1 END), count(CASE WHEN taken_at IS NULL AND ours THEN 1 END)
		FROM leases WHERE job_id = ? AND (ended_by = 'lost' OR id = ?)`, job.ID, lease.ID)
	return lossOf(known), err
}

// revokeLease ends a lease. A job that may have begun, and is to run again, keeps
// it until it runs out: nobody can use it, and nobody else gets the job meanwhile.
func (t *tx) revokeLease(job Job, lease Lease, fate fate, reason string) error {
	if fate.Again && lease.taken {
		if _, err := t.Exec(`UPDATE leases SET ended_by = ? WHERE id = ? AND ended_at IS NULL`, endedByLoss, lease.ID); err != nil {
			return err
		}
		if _, err := t.Exec(`UPDATE jobs SET reason = ? WHERE id = ?`, reason, job.ID); err != nil {
			return err
		}
		return t.event(job.ID, job.State, job.Attempt, job.Runner, reason)
	}
	if err := t.endLease(lease.ID, endedByLoss); err != nil {
		return err
	}
	if fate.Again {
		return t.requeue(job, reason)
	}
	return t.finish(job, fate.State, reason, nil, job.LogBytes)
}
