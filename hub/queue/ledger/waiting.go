package ledger

import (
	"slices"
	"time"

	"github.com/slipway-ci/slipway/hub/queue/grant"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/template"
)

// activationGrace is how long a runner that was given a job may take from there
// to its claim.
const activationGrace = time.Minute

// AdoptIdle gives queued jobs to runners that are enrolled and wait: the oldest
// job that a runner covers. They need no launch.
func (t *Tx) AdoptIdle() error {
	if t.ledger.StorageFull() {
		return nil
	}
	waiting, err := t.WaitingSets()
	if err != nil || len(waiting) == 0 {
		return err
	}
	idle, err := t.RunnersWhere(`r.enrolled_at IS NOT NULL AND r.reservation_id IS NULL
		AND r.session_id IS NULL AND r.retired_at IS NULL AND r.ended_at IS NULL ORDER BY r.enrolled_at, r.id`)
	if err != nil {
		return err
	}
	for _, r := range idle {
		job, found, err := t.oldestOf(waiting, r.Labels)
		if err != nil {
			return err
		}
		if !found {
			continue
		}
		if err := t.adopt(r, job); err != nil {
			return err
		}
		if waiting, err = t.WaitingSets(); err != nil || len(waiting) == 0 {
			return err
		}
	}
	return nil
}

// OldestQueued is the queued job that came first among those that labels cover.
func (t *Tx) OldestQueued(labels []string) (Job, bool, error) {
	waiting, err := t.WaitingSets()
	if err != nil {
		return Job{}, false, err
	}
	return t.oldestOf(waiting, labels)
}

func (t *Tx) oldestOf(waiting []grant.Waiting, labels []string) (Job, bool, error) {
	first := int64(0)
	for _, w := range waiting {
		if template.Covers(labels, w.Labels) && (first == 0 || w.Oldest < first) {
			first = w.Oldest
		}
	}
	if first == 0 {
		return Job{}, false, nil
	}
	return t.JobWhere(`seq = ?`, first)
}

// adopt binds a job to an idle runner.
func (t *Tx) adopt(r Runner, job Job) error {
	id, until := NewID(), t.Now.Add(activationGrace)
	_, err := t.Exec(`INSERT INTO reservations (id, provisioner_id, kind, label_set, granted, minted, told, created_at, expires_at)
		VALUES (?, ?, 'bound', ?, 1, 1, 0, ?, ?)`,
		id, r.Provisioner, JoinLabels(job.Labels), Millis(t.Now), Millis(until))
	if err != nil {
		return err
	}
	if err := t.Reserve(job, id, until); err != nil {
		return err
	}
	if err := t.Meant(job.ID, r.ID); err != nil {
		return err
	}
	if err := t.Launched(r.ID); err != nil {
		return err
	}
	if _, err := t.Exec(`UPDATE runners SET reservation_id = ? WHERE id = ?`, id, r.ID); err != nil {
		return err
	}
	t.Wake(TopicRunner(r.ID), TopicProvisioner(r.Provisioner))
	t.ExpiresAt(until)
	return t.MarkGranted(JoinLabels(job.Labels))
}

// WaitingSets are the label sets with jobs that are free to grant.
func (t *Tx) WaitingSets() ([]grant.Waiting, error) {
	return store.All(t.Tx, func(r store.Row) (w grant.Waiting, err error) {
		var set string
		err = r.Scan(&set, &w.Queued, &w.Active, &w.LastGranted, &w.Oldest)
		w.Labels = SplitLabels(set)
		return w, err
	}, `SELECT label_set, queued, reserved + running, last_granted,
		(SELECT min(seq) FROM jobs j WHERE j.label_set = s.label_set AND j.state = 'queued')
		FROM label_sets s WHERE (queued > 0 OR reserved > 0) AND queued > 0`)
}

// MarkGranted notes that a label set got something: others come first now.
func (t *Tx) MarkGranted(set string) error {
	_, err := t.Exec(`UPDATE label_sets SET last_granted = ? WHERE label_set = ?`, t.Now.UnixMicro(), set)
	return err
}

// Promote assigns a runner to a reservation: to the job that is meant for it, or
// the oldest one of the reservation that nobody is for. Without one it is
// ErrNotAssignable.
func (t *Tx) Promote(r Runner, reservation string) error {
	jobs, err := t.MeantFor(r.ID)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(jobs, func(j Job) bool { return j.Reservation == reservation }) {
		job, found, err := store.One(t.Tx, store.Value[string], `SELECT id FROM jobs WHERE reservation_id = ?
			AND state IN ('reserved', 'launched') AND runner_id IS NULL ORDER BY seq LIMIT 1`, reservation)
		if err != nil {
			return err
		}
		if !found {
			return ErrNotAssignable
		}
		// A runner that was minted for something else takes a unit of this one.
		if r.Intended != reservation {
			if _, err := t.Exec(`UPDATE reservations SET minted = minted + 1 WHERE id = ?`, reservation); err != nil {
				return err
			}
		}
		if err := t.Meant(job, r.ID); err != nil {
			return err
		}
	}
	if _, err := t.Exec(`UPDATE runners SET reservation_id = ? WHERE id = ?`, reservation, r.ID); err != nil {
		return err
	}
	t.Wake(TopicRunner(r.ID))
	return t.Hold(r.ID)
}

// Hold gives a runner that has come the time to claim its job.
func (t *Tx) Hold(runner string) error {
	if err := t.Launched(runner); err != nil {
		return err
	}
	_, err := t.Exec(`UPDATE jobs SET reserved_until = max(reserved_until, ?) WHERE runner_id = ? AND state = 'launched'`,
		Millis(t.Now.Add(activationGrace)), runner)
	return err
}
