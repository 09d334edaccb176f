package queue

import (
	"context"
	"fmt"
	"time"

	"github.com/slipway-ci/slipway/hub/queue/grant"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/template"
)

// activationGrace is how long a runner that was given a job may take from there
// to its claim.
const activationGrace = time.Minute

// Reasons of terminate intents, as the Shipfox API names them.
const (
	intentCancelled  = "job-cancelled"
	intentActivation = "activation-timeout"
)

// expireReservations puts back the jobs whose promise ran out. A runner that
// holds one and does not come for it is to end.
func (t *tx) expireReservations() error {
	jobs, err := store.All(t.Tx, scanJob, `SELECT `+jobColumns+` FROM jobs
		WHERE state IN ('reserved', 'launched') AND reserved_until <= ? ORDER BY seq`, millis(t.now))
	if err != nil || len(jobs) == 0 {
		return err
	}
	for _, job := range jobs {
		if err := t.requeue(job, "reservation-expired"); err != nil {
			return err
		}
		if job.Runner != "" {
			if err := t.endUnactivated(job.Runner); err != nil {
				return err
			}
		}
	}
	return t.adoptIdle()
}

// endUnactivated asks for the end of a runner that was assigned to a reservation
// and never registered.
func (t *tx) endUnactivated(runner string) error {
	r, found, err := t.runner(runner)
	if err != nil || !found || r.reservation == "" || r.session != "" || r.generation != GenerationHead {
		return err
	}
	return t.unwant(r, intentActivation)
}

// unwant makes sure that a runner gets no job, and asks for its end.
func (t *tx) unwant(r runner, reason string) error {
	_, err := t.Exec(`UPDATE runners SET retired_at = coalesce(retired_at, ?), intent = ? WHERE id = ? AND intent = ''`,
		millis(t.now), reason, r.id)
	t.wake(topicProvisioner(r.provisioner), topicRunner(r.id))
	return err
}

// dropReservation takes back a promise whose answer was lost.
func (t *tx) dropReservation(p Provisioner, id string) error {
	jobs, err := store.All(t.Tx, scanJob,
		`SELECT `+jobColumns+` FROM jobs WHERE reservation_id = ? AND state = 'reserved' AND runner_id IS NULL ORDER BY seq`, id)
	if err != nil {
		return err
	}
	for _, job := range jobs {
		if err := t.requeue(job, "not delivered"); err != nil {
			return err
		}
	}
	_, err = t.Exec(`DELETE FROM reservations WHERE id = ? AND provisioner_id = ? AND minted = 0`, id, p.ID)
	return err
}

// vacated handles the unit that a job leaves behind when it goes another way: the
// next job of its label set takes it; else the promise shrinks, or the runner
// that came for nothing is to end.
func (t *tx) vacated(job Job) error {
	if job.reservation == "" {
		return nil
	}
	next, found, err := store.One(t.Tx, scanJob,
		`SELECT `+jobColumns+` FROM jobs WHERE label_set = ? AND state = 'queued' ORDER BY seq LIMIT 1`, joinLabels(job.Labels))
	if err != nil {
		return err
	}
	if found {
		return t.inherit(next, job)
	}
	if job.Runner == "" {
		// The older generations refuse a whole batch that exceeds the reservation.
		_, err := t.Exec(`UPDATE reservations SET released = released + 1 WHERE id = ? AND granted - released > minted
			AND EXISTS (SELECT 1 FROM provisioners p WHERE p.id = provisioner_id AND p.generation = 'head')`, job.reservation)
		return err
	}
	r, found, err := t.runner(job.Runner)
	if err != nil || !found || r.ended() {
		return err
	}
	return t.unwant(r, intentCancelled)
}

// inherit gives next the unit, and the runner if there is one, that job had.
func (t *tx) inherit(next, job Job) error {
	if err := t.reserve(next, job.reservation, t.now.Add(activationGrace)); err != nil {
		return err
	}
	_, err := t.Exec(`UPDATE jobs SET reserved_until = max(reserved_until, coalesce((SELECT expires_at FROM reservations WHERE id = ?), 0))
		WHERE id = ?`, job.reservation, next.ID)
	if err != nil || job.Runner == "" {
		return err
	}
	if err := t.meant(next.ID, job.Runner); err != nil {
		return err
	}
	if job.State == StateLaunched {
		return t.launched(job.Runner)
	}
	return nil
}

// adoptIdle gives queued jobs to runners that are enrolled and wait: the oldest
// job that a runner covers. They need no launch.
func (t *tx) adoptIdle() error {
	if t.q.cfg.StorageFull() {
		return nil
	}
	waiting, err := t.waitingSets()
	if err != nil || len(waiting) == 0 {
		return err
	}
	idle, err := store.All(t.Tx, scanRunner, runnerQuery+`r.enrolled_at IS NOT NULL AND r.reservation_id IS NULL
		AND r.session_id IS NULL AND r.retired_at IS NULL AND r.ended_at IS NULL ORDER BY r.enrolled_at, r.id`)
	if err != nil {
		return err
	}
	for _, r := range idle {
		job, found, err := t.oldestOf(waiting, r.labels)
		if err != nil {
			return err
		}
		if !found {
			continue
		}
		if err := t.adopt(r, job); err != nil {
			return err
		}
		if waiting, err = t.waitingSets(); err != nil || len(waiting) == 0 {
			return err
		}
	}
	return nil
}

// Resume grants what was held back while Config.StorageFull said so: call it when
// that has changed.
func (q *Queue) Resume(ctx context.Context) error {
	err := q.write(ctx, func(t *tx) error {
		t.wake(topicDemand)
		return t.adoptIdle()
	})
	if err != nil {
		return fmt.Errorf("queue: resume: %w", err)
	}
	return nil
}

// oldestQueued is the queued job that came first among those that labels cover.
func (t *tx) oldestQueued(labels []string) (Job, bool, error) {
	waiting, err := t.waitingSets()
	if err != nil {
		return Job{}, false, err
	}
	return t.oldestOf(waiting, labels)
}

func (t *tx) oldestOf(waiting []grant.Waiting, labels []string) (Job, bool, error) {
	first := int64(0)
	for _, w := range waiting {
		if template.Covers(labels, w.Labels) && (first == 0 || w.Oldest < first) {
			first = w.Oldest
		}
	}
	if first == 0 {
		return Job{}, false, nil
	}
	return store.One(t.Tx, scanJob, `SELECT `+jobColumns+` FROM jobs WHERE seq = ?`, first)
}

// adopt binds a job to an idle runner.
func (t *tx) adopt(r runner, job Job) error {
	id, until := newID(), t.now.Add(activationGrace)
	_, err := t.Exec(`INSERT INTO reservations (id, provisioner_id, kind, label_set, granted, minted, told, created_at, expires_at)
		VALUES (?, ?, 'bound', ?, 1, 1, 0, ?, ?)`,
		id, r.provisioner, joinLabels(job.Labels), millis(t.now), millis(until))
	if err != nil {
		return err
	}
	if err := t.reserve(job, id, until); err != nil {
		return err
	}
	if err := t.meant(job.ID, r.id); err != nil {
		return err
	}
	if err := t.launched(r.id); err != nil {
		return err
	}
	if _, err := t.Exec(`UPDATE runners SET reservation_id = ? WHERE id = ?`, id, r.id); err != nil {
		return err
	}
	t.wake(topicRunner(r.id), topicProvisioner(r.provisioner))
	t.after(func() { t.q.expiresAt(until) })
	return t.markGranted(joinLabels(job.Labels))
}
