package dispatch

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/hub/queue/ledger"
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
	// State is what it came to.
	State ledger.RunnerState
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
func (d *Dispatcher) Report(ctx context.Context, p ledger.Provisioner, events []RunnerEvent) (accepted, released int, err error) {
	err = d.ledger.Write(ctx, func(t *ledger.Tx) error {
		seen := map[string]bool{}
		released = 0
		for _, event := range events {
			seen[event.ProviderID] = true
			freed, err := report(t, p, event)
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

func report(t *ledger.Tx, p ledger.Provisioner, event RunnerEvent) (released bool, err error) {
	at := event.At
	if at.After(t.Now) {
		at = t.Now
	}
	r, found, err := t.RunnerOf(p, event.ProviderID)
	if err != nil {
		return false, err
	}
	if !found {
		r = ledger.Runner{Provisioner: p.ID, Generation: p.Generation, ProviderID: event.ProviderID, State: ledger.RunnerStarting}
		if r.ID, err = t.AddRunner(p, r); err != nil {
			return false, err
		}
	}
	if r, err = linkReservation(t, p, r, event.Reservation); err != nil {
		return false, err
	}
	if !ledger.Supersedes(event.State, at, r.State, r.ReportedAt) {
		_, err := t.Exec(`UPDATE runners SET seen_at = ? WHERE id = ?`, ledger.Millis(t.Now), r.ID)
		return false, err
	}
	ended := event.State.Terminal() && !r.Ended()
	_, err = t.Exec(`UPDATE runners SET state = ?, reason = ?, template = coalesce(nullif(?, ''), template),
		label_set = CASE WHEN enrolled_at IS NULL THEN ? ELSE label_set END, provider_kind = coalesce(nullif(?, ''), provider_kind),
		reported_at = ?, seen_at = ?, ended_at = CASE WHEN ? THEN ? ELSE ended_at END WHERE id = ?`,
		event.State, event.Reason, event.Template, ledger.JoinLabels(event.Labels), event.Kind,
		ledger.Millis(at), ledger.Millis(t.Now), ended, ledger.Millis(t.Now), r.ID)
	if err != nil {
		return false, err
	}
	if ended {
		return runnerEnded(t, r, event)
	}
	if event.State == ledger.RunnerStarting || event.State == ledger.RunnerRunning {
		return false, t.Launched(r.ID)
	}
	return false, nil
}

// linkReservation takes the reservation of an event over, which in the older
// generations is how a runner and its promise are known to belong together.
func linkReservation(t *ledger.Tx, p ledger.Provisioner, r ledger.Runner, reservation string) (ledger.Runner, error) {
	if reservation == "" || r.Intended != "" {
		return r, nil
	}
	_, found, err := store.One(t.Tx, store.Value[string],
		`SELECT id FROM reservations WHERE id = ? AND provisioner_id = ?`, reservation, p.ID)
	if err != nil || !found {
		return r, err
	}
	r.Intended = reservation
	if p.Generation != ledger.GenerationHead {
		r.Reservation = reservation
	}
	_, err = t.Exec(`UPDATE runners SET intended_id = ?, reservation_id = nullif(?, '') WHERE id = ?`, r.Intended, r.Reservation, r.ID)
	return r, err
}

// reasonNoRoom is the word of a loop for a launch that found no room.
const reasonNoRoom = "exhausted"

// why says why a runner ended, for the jobs that it was meant for.
func (e RunnerEvent) why() string {
	word, _, _ := strings.Cut(e.Reason, ":")
	switch {
	case e.State == ledger.RunnerFailed && word == reasonNoRoom:
		return "no room for its runner"
	case word == "":
		return "runner " + string(e.State)
	default:
		return "runner " + string(e.State) + ": " + word
	}
}

// runnerEnded gives back what a runner that has ended held: its unit if it never
// registered, and the job that it never claimed. A job that runs hangs on its
// lease; only one that was to be cancelled anyway, or whose runner an operator
// wanted to end, is over with its runner.
func runnerEnded(t *ledger.Tx, r ledger.Runner, event RunnerEvent) (released bool, err error) {
	if r.Session == "" {
		if released, err = t.Release(r); err != nil {
			return false, err
		}
	}
	if err := t.RequeueOf(r.ID, event.why()); err != nil {
		return released, err
	}
	running, err := t.JobsWhere(`runner_id = ? AND state = 'running' AND (cancel_requested_at IS NOT NULL OR ? <> '')`, r.ID, r.Ending())
	if err != nil {
		return released, err
	}
	for _, job := range running {
		if err := t.EndLease(job.Lease, ledger.EndedByCancel); err != nil {
			return released, err
		}
		if err := t.Finish(job, ledger.StateCancelled, cmp.Or(job.Reason, r.Ending()), nil, job.LogBytes); err != nil {
			return released, err
		}
	}
	return released, nil
}
