package dispatch

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/slipway-ci/slipway/hub/queue/ledger"
)

// RunnerView is what a reconciliation tells of one runner.
type RunnerView struct {
	// ProviderID is the runner's id in the provisioner's hands.
	ProviderID string
	// State is empty for a runner of which nothing is told.
	State ledger.RunnerState
	// Intended is the reservation that it was minted for, Reservation the one
	// that it is assigned to, Session its session; empty: none.
	Intended, Reservation, Session string
	// Job is the job that it runs; nil: none.
	Job *BoundJob
	// Terminate asks for its end.
	Terminate bool
}

// BoundJob is a job that a runner holds a lease on.
type BoundJob struct {
	ID string // the job's
	// Lease is the id of the lease.
	Lease string
	// RenewedAt is when the lease was last renewed, or granted.
	RenewedAt time.Time
	// CancelRequestedAt is zero where nobody asked.
	CancelRequestedAt time.Time
}

// Reconcile tells, in their order, what is known of observed runners. Of a list
// that is not empty, runners that are left out and went unreported for two
// minutes count as terminated; their provider ids are returned in absent.
//
// Runners that are assigned to no reservation are told as unknown, since the API
// tells them so.
func (d *Dispatcher) Reconcile(ctx context.Context, p ledger.Provisioner, observed []string) (views []RunnerView, absent []string, err error) {
	shown := make(map[string]bool, len(observed))
	missing := false
	err = d.ledger.Read(ctx, func(t *ledger.Tx) error {
		views = make([]RunnerView, 0, len(observed))
		for _, id := range observed {
			shown[id] = true
			view, err := d.view(t, p, id)
			if err != nil {
				return err
			}
			views = append(views, view)
		}
		old, err := unreported(t, p, shown)
		missing = len(old) > 0
		return err
	})
	if err == nil && missing {
		err = d.ledger.Write(ctx, func(t *ledger.Tx) error {
			absent, err = endAbsent(t, p, shown)
			return err
		})
	}
	if err != nil {
		return nil, nil, fmt.Errorf("queue: reconcile runners: %w", err)
	}
	return views, absent, nil
}

func (d *Dispatcher) view(t *ledger.Tx, p ledger.Provisioner, providerID string) (RunnerView, error) {
	unknown := RunnerView{ProviderID: providerID}
	r, found, err := t.RunnerOf(p, providerID)
	if err != nil || !found || r.Reservation == "" && r.Session == "" {
		return unknown, err
	}
	view := RunnerView{
		ProviderID: providerID, State: r.State, Intended: r.Intended, Reservation: r.Reservation, Session: r.Session,
		Terminate: r.Ended() || r.Intent == ledger.IntentCancelled,
	}
	job, found, err := t.JobWhere(`runner_id = ? AND state = 'running'`, r.ID)
	if err != nil || !found {
		return view, err
	}
	view.Job = &BoundJob{ID: job.ID, Lease: job.Lease, RenewedAt: d.ledger.Book.RenewedAt(job.Lease), CancelRequestedAt: job.CancelRequestedAt}
	return view, nil
}

// unreported lists the assigned runners that are not shown and long unreported.
// Nothing can be said of any where none are shown.
func unreported(t *ledger.Tx, p ledger.Provisioner, shown map[string]bool) ([]ledger.Runner, error) {
	if len(shown) == 0 {
		return nil, nil
	}
	old, err := t.RunnersWhere(`r.provisioner_id = ? AND r.ended_at IS NULL AND r.seen_at < ?
		AND r.provider_runner_id IS NOT NULL AND (r.reservation_id IS NOT NULL OR r.session_id IS NOT NULL)
		ORDER BY r.provider_runner_id`, p.ID, ledger.Millis(t.Now.Add(-absentAfter)))
	return slices.DeleteFunc(old, func(r ledger.Runner) bool { return shown[r.ProviderID] }), err
}

// endAbsent ends them.
func endAbsent(t *ledger.Tx, p ledger.Provisioner, shown map[string]bool) (absent []string, err error) {
	old, err := unreported(t, p, shown)
	for _, r := range old {
		event := RunnerEvent{ProviderID: r.ProviderID, Template: r.Template, Labels: r.Labels, State: ledger.RunnerTerminated, Reason: "absent", At: t.Now}
		if _, err := report(t, p, event); err != nil {
			return nil, err
		}
		absent = append(absent, r.ProviderID)
	}
	return absent, err
}

// absentAfter is how long a runner may go unreported before a look that does not
// show it counts as its end.
const absentAfter = 2 * time.Minute
