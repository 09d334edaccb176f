package queue

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/slipway-ci/slipway/hub/store"
)

// RunnerEvent is one report of a provisioner on one of its runners.
type RunnerEvent struct {
	// ProviderID is the runner's id in the provisioner's hands.
	ProviderID string
	// Reservation is the promise that it was launched for, if the event says so.
	Reservation string
	// Template is the provisioner's key; may be empty.
	Template string
	// Labels of the runner, canonical.
	Labels []string
	State  RunnerState
	// Reason may be empty.
	Reason string
	// At is by the provisioner's clock; what lies ahead of ours counts as now.
	At time.Time
	// Kind names the backend, such as docker; may be empty.
	Kind string
}

// Report stores what became of runners. An unknown one is added. accepted counts
// runners, released units of reservations given back: those of runners that
// ended before they registered.
func (q *Queue) Report(ctx context.Context, p Provisioner, events []RunnerEvent) (accepted, released int, err error) {
	err = q.write(ctx, func(t *tx) error {
		seen := map[string]bool{}
		released = 0
		for _, event := range events {
			seen[event.ProviderID] = true
			freed, err := t.report(p, event)
			if err != nil {
				return err
			}
			if freed {
				released++
			}
		}
		accepted = len(seen)
		return nil
	})
	if err != nil {
		return 0, 0, fmt.Errorf("queue: report runners: %w", err)
	}
	return accepted, released, nil
}

func (t *tx) report(p Provisioner, event RunnerEvent) (released bool, err error) {
	at := event.At
	if at.After(t.now) {
		at = t.now
	}
	r, found, err := t.runnerOf(p, event.ProviderID)
	if err != nil {
		return false, err
	}
	if !found {
		r = runner{provisioner: p.ID, generation: p.Generation, providerID: event.ProviderID, state: RunnerStarting}
		if r.id, err = t.addRunner(p, r); err != nil {
			return false, err
		}
	}
	if r, err = t.linkReservation(p, r, event.Reservation); err != nil {
		return false, err
	}
	if !supersedes(event.State, at, r.state, r.reportedAt) {
		_, err := t.Exec(`UPDATE runners SET seen_at = ? WHERE id = ?`, millis(t.now), r.id)
		return false, err
	}
	ended := event.State.Terminal() && !r.ended()
	_, err = t.Exec(`UPDATE runners SET state = ?, reason = ?, template = coalesce(nullif(?, ''), template),
		label_set = CASE WHEN enrolled_at IS NULL THEN ? ELSE label_set END, provider_kind = coalesce(nullif(?, ''), provider_kind),
		reported_at = ?, seen_at = ?, ended_at = CASE WHEN ? THEN ? ELSE ended_at END WHERE id = ?`,
		event.State, event.Reason, event.Template, joinLabels(event.Labels), event.Kind,
		millis(at), millis(t.now), ended, millis(t.now), r.id)
	if err != nil {
		return false, err
	}
	if ended {
		return t.runnerEnded(r, event)
	}
	if event.State == RunnerStarting || event.State == RunnerRunning {
		return false, t.launched(r.id)
	}
	return false, nil
}

// linkReservation takes the reservation of an event over, which in the older
// generations is how a runner and its promise are known to belong together.
func (t *tx) linkReservation(p Provisioner, r runner, reservation string) (runner, error) {
	if reservation == "" || r.intended != "" {
		return r, nil
	}
	_, found, err := store.One(t.Tx, store.Value[string],
		`SELECT id FROM reservations WHERE id = ? AND provisioner_id = ?`, reservation, p.ID)
	if err != nil || !found {
		return r, err
	}
	r.intended = reservation
	if p.Generation != GenerationHead {
		r.reservation = reservation
	}
	_, err = t.Exec(`UPDATE runners SET intended_id = ?, reservation_id = nullif(?, '') WHERE id = ?`, r.intended, r.reservation, r.id)
	return r, err
}

// runnerEnded gives back what a runner that has ended held: its unit if it never
// registered, and the job that it never claimed. A job that runs hangs on its
// lease; only one that was to be cancelled anyway, or whose runner an operator
// wanted to end, is over with its runner.
func (t *tx) runnerEnded(r runner, event RunnerEvent) (released bool, err error) {
	if r.session == "" {
		if released, err = t.release(r); err != nil {
			return false, err
		}
	}
	if err := t.requeueOf(r.id, "runner "+string(event.State)); err != nil {
		return released, err
	}
	running, err := store.All(t.Tx, scanJob, `SELECT `+jobColumns+` FROM jobs
		WHERE runner_id = ? AND state = 'running' AND (cancel_requested_at IS NOT NULL OR ? <> '')`, r.id, r.ending())
	if err != nil {
		return released, err
	}
	for _, job := range running {
		if err := t.endLease(job.lease, endedByCancel); err != nil {
			return released, err
		}
		if err := t.finish(job, StateCancelled, cmp.Or(job.Reason, r.ending()), nil, job.LogBytes); err != nil {
			return released, err
		}
	}
	return released, nil
}

// release shrinks the reservation that a runner was minted for, while it lives.
func (t *tx) release(r runner) (bool, error) {
	id := r.intended
	if r.reservation != "" {
		id = r.reservation
	}
	n, err := t.Exec(`UPDATE reservations SET released = released + 1 WHERE id = ? AND expires_at > ? AND granted > released`,
		id, millis(t.now))
	return n == 1, err
}
