package queue

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/template"
)

// Attach tells a minted runner's id in the provisioner's hands. Only the first
// call for a runner that has not ended answers true. ErrRunnerConflict: another
// runner has that id.
func (q *Queue) Attach(ctx context.Context, p Provisioner, id, providerID string) (attached bool, err error) {
	err = q.write(ctx, func(t *tx) error {
		attached = false
		r, found, err := t.runner(id)
		if err != nil || !found || r.provisioner != p.ID || r.ended() || r.providerID != "" {
			return err
		}
		if _, taken, err := t.runnerOf(p, providerID); err != nil || taken {
			if taken {
				err = ErrRunnerConflict
			}
			return err
		}
		_, err = t.Exec(`UPDATE runners SET provider_runner_id = ?, seen_at = ? WHERE id = ?`, providerID, millis(t.now), id)
		attached = err == nil
		return err
	})
	if err != nil {
		return false, fmt.Errorf("queue: attach runner: %w", err)
	}
	return attached, nil
}

// Assign binds running, enrolled runners to a reservation: all of them, or none.
// Enrolment does it by itself for the reservation that a runner was minted for,
// so this repeats it, as a rule. Errors: ErrReservationNotFound,
// ErrReservationExpired, ErrNotAssignable.
func (q *Queue) Assign(ctx context.Context, p Provisioner, reservation string, ids []string) error {
	err := q.write(ctx, func(t *tx) error { return t.assign(p, reservation, ids) })
	if err != nil {
		return fmt.Errorf("queue: assign runners: %w", err)
	}
	return nil
}

func (t *tx) assign(p Provisioner, reservation string, ids []string) error {
	runners := make([]runner, 0, len(ids))
	done := 0
	for _, id := range ids {
		r, found, err := t.runner(id)
		if err != nil {
			return err
		}
		if found && r.provisioner == p.ID {
			runners = append(runners, r)
			if r.reservation == reservation {
				done++
			}
		}
	}
	if done == len(ids) {
		return nil // repeated; the reservation itself may be gone by now
	}
	type row struct {
		labels  []string
		expires int64
	}
	res, found, err := store.One(t.Tx, func(r store.Row) (v row, err error) {
		var set string
		err = r.Scan(&set, &v.expires)
		v.labels = splitLabels(set)
		return v, err
	}, `SELECT label_set, expires_at FROM reservations WHERE id = ? AND provisioner_id = ?`, reservation, p.ID)
	switch {
	case err != nil:
		return err
	case !found:
		return ErrReservationNotFound
	case res.expires <= millis(t.now):
		return ErrReservationExpired
	case len(runners) < len(ids):
		return ErrNotAssignable
	}
	for _, r := range runners {
		if r.reservation == reservation {
			continue
		}
		if !assignable(r) || !template.Covers(r.labels, res.labels) {
			return ErrNotAssignable
		}
		if err := t.promote(r, reservation); err != nil {
			return err
		}
	}
	return nil
}

// assignable says whether a runner waits for a reservation.
func assignable(r runner) bool {
	return r.state == RunnerRunning && r.providerID != "" && r.enrolled && r.session == "" && r.reservation == "" && !r.retired
}

// promote assigns a runner to a reservation: to the job that is meant for it, or
// the oldest one of the reservation that nobody is for. Without one it is
// ErrNotAssignable.
func (t *tx) promote(r runner, reservation string) error {
	jobs, err := t.meantFor(r.id)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(jobs, func(j Job) bool { return j.reservation == reservation }) {
		job, found, err := store.One(t.Tx, store.Value[string], `SELECT id FROM jobs WHERE reservation_id = ?
			AND state IN ('reserved', 'launched') AND runner_id IS NULL ORDER BY seq LIMIT 1`, reservation)
		if err != nil {
			return err
		}
		if !found {
			return ErrNotAssignable
		}
		// A runner that was minted for something else takes a unit of this one.
		if r.intended != reservation {
			if _, err := t.Exec(`UPDATE reservations SET minted = minted + 1 WHERE id = ?`, reservation); err != nil {
				return err
			}
		}
		if err := t.meant(job, r.id); err != nil {
			return err
		}
	}
	if _, err := t.Exec(`UPDATE runners SET reservation_id = ? WHERE id = ?`, reservation, r.id); err != nil {
		return err
	}
	t.wake(topicRunner(r.id))
	return t.hold(r.id)
}

// hold gives a runner that has come the time to claim its job.
func (t *tx) hold(runner string) error {
	if err := t.launched(runner); err != nil {
		return err
	}
	_, err := t.Exec(`UPDATE jobs SET reserved_until = max(reserved_until, ?) WHERE runner_id = ? AND state = 'launched'`,
		millis(t.now.Add(activationGrace)), runner)
	return err
}

// absentAfter is how long a runner may go unreported before a look that does not
// show it counts as its end.
const absentAfter = 2 * time.Minute
