package ledger

import (
	"time"

	"github.com/slipway-ci/slipway/hub/store"
)

// ExpireReservations puts back the jobs whose promise ran out. A runner that
// holds one and does not come for it is to end.
func (t *Tx) ExpireReservations() error {
	jobs, err := t.JobsWhere(`state IN ('reserved', 'launched') AND reserved_until <= ? ORDER BY seq`, Millis(t.Now))
	if err != nil || len(jobs) == 0 {
		return err
	}
	for _, job := range jobs {
		if err := t.Requeue(job, "reservation-expired"); err != nil {
			return err
		}
		if job.Runner != "" {
			if err := t.endUnactivated(job.Runner); err != nil {
				return err
			}
		}
	}
	return t.AdoptIdle()
}

// NextExpiry is when the next promise runs out; zero: there is none.
func (t *Tx) NextExpiry() (time.Time, error) {
	at, _, err := store.One(t.Tx, store.Value[*int64], `SELECT min(reserved_until) FROM jobs WHERE state IN ('reserved', 'launched')`)
	return FromNullable(at), err
}

// endUnactivated asks for the end of a runner that was assigned to a reservation
// and never registered.
func (t *Tx) endUnactivated(runner string) error {
	r, found, err := t.Runner(runner)
	if err != nil || !found || r.Reservation == "" || r.Session != "" || r.Generation != GenerationHead {
		return err
	}
	return t.Unwant(r, IntentActivation)
}

// DropReservation takes back what is left of a promise that its provisioner has
// forgotten, or never heard of. The units that were minted stay with their runners.
func (t *Tx) DropReservation(p Provisioner, id string) error {
	jobs, err := t.JobsWhere(`reservation_id = ? AND state = 'reserved' AND runner_id IS NULL ORDER BY seq`, id)
	if err != nil {
		return err
	}
	for _, job := range jobs {
		if err := t.Requeue(job, "not delivered"); err != nil {
			return err
		}
	}
	if _, err := t.Exec(`DELETE FROM reservations WHERE id = ? AND provisioner_id = ? AND minted = 0`, id, p.ID); err != nil {
		return err
	}
	_, err = t.Exec(`UPDATE reservations SET released = granted - minted WHERE id = ? AND provisioner_id = ? AND granted - released > minted`, id, p.ID)
	return err
}

// Vacated handles the unit that a job leaves behind when it goes another way: the
// next job of its label set takes it; else the promise shrinks, or the runner
// that came for nothing is to end.
func (t *Tx) Vacated(job Job) error {
	if job.Reservation == "" {
		return nil
	}
	next, found, err := t.JobWhere(`label_set = ? AND state = 'queued' ORDER BY seq LIMIT 1`, JoinLabels(job.Labels))
	if err != nil {
		return err
	}
	if found {
		return t.inherit(next, job)
	}
	if job.Runner == "" {
		// The older generations refuse a whole batch that exceeds the reservation.
		_, err := t.Exec(`UPDATE reservations SET released = released + 1 WHERE id = ? AND granted - released > minted
			AND EXISTS (SELECT 1 FROM provisioners p WHERE p.id = provisioner_id AND p.generation = 'head')`, job.Reservation)
		return err
	}
	r, found, err := t.Runner(job.Runner)
	if err != nil || !found || r.Ended() {
		return err
	}
	return t.Unwant(r, IntentCancelled)
}

// inherit gives next the unit, and the runner if there is one, that job had.
func (t *Tx) inherit(next, job Job) error {
	if err := t.Reserve(next, job.Reservation, t.Now.Add(activationGrace)); err != nil {
		return err
	}
	_, err := t.Exec(`UPDATE jobs SET reserved_until = max(reserved_until, coalesce((SELECT expires_at FROM reservations WHERE id = ?), 0))
		WHERE id = ?`, job.Reservation, next.ID)
	if err != nil || job.Runner == "" {
		return err
	}
	if err := t.Meant(next.ID, job.Runner); err != nil {
		return err
	}
	if job.State == StateLaunched {
		return t.Launched(job.Runner)
	}
	return nil
}

// Release shrinks the reservation that a runner was minted for, while it lives.
func (t *Tx) Release(r Runner) (bool, error) {
	id := r.Intended
	if r.Reservation != "" {
		id = r.Reservation
	}
	n, err := t.Exec(`UPDATE reservations SET released = released + 1 WHERE id = ? AND expires_at > ? AND granted > released`,
		id, Millis(t.Now))
	return n == 1, err
}
