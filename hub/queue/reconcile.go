package queue

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/slipway-ci/slipway/hub/store"
)

// RunnerView is what a reconciliation tells of one runner.
type RunnerView struct {
	// ProviderID is the runner's id in the provisioner's hands.
	ProviderID string
	// State is empty for a runner of which nothing is told.
	State RunnerState
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
	ID string
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
func (q *Queue) Reconcile(ctx context.Context, p Provisioner, observed []string) (views []RunnerView, absent []string, err error) {
	shown := make(map[string]bool, len(observed))
	missing := false
	err = q.read(ctx, func(t *tx) error {
		views = make([]RunnerView, 0, len(observed))
		for _, id := range observed {
			shown[id] = true
			view, err := t.view(p, id)
			if err != nil {
				return err
			}
			views = append(views, view)
		}
		old, err := t.unreported(p, shown)
		missing = len(old) > 0
		return err
	})
	if err == nil && missing {
		err = q.write(ctx, func(t *tx) error {
			absent, err = t.endAbsent(p, shown)
			return err
		})
	}
	if err != nil {
		return nil, nil, fmt.Errorf("queue: reconcile runners: %w", err)
	}
	return views, absent, nil
}

func (t *tx) view(p Provisioner, providerID string) (RunnerView, error) {
	unknown := RunnerView{ProviderID: providerID}
	r, found, err := t.runnerOf(p, providerID)
	if err != nil || !found || r.reservation == "" && r.session == "" {
		return unknown, err
	}
	view := RunnerView{
		ProviderID: providerID, State: r.state, Intended: r.intended, Reservation: r.reservation, Session: r.session,
		Terminate: r.ended() || r.intent == intentCancelled,
	}
	job, found, err := store.One(t.Tx, scanJob, `SELECT `+jobColumns+` FROM jobs WHERE runner_id = ? AND state = 'running'`, r.id)
	if err != nil || !found {
		return view, err
	}
	view.Job = &BoundJob{ID: job.ID, Lease: job.lease, RenewedAt: t.q.leases.renewedAt(job.lease), CancelRequestedAt: job.CancelRequestedAt}
	return view, nil
}

// unreported lists the assigned runners that are not shown and long unreported.
// Nothing can be said of any where none are shown.
func (t *tx) unreported(p Provisioner, shown map[string]bool) ([]runner, error) {
	if len(shown) == 0 {
		return nil, nil
	}
	old, err := store.All(t.Tx, scanRunner, runnerQuery+`r.provisioner_id = ? AND r.ended_at IS NULL AND r.seen_at < ?
		AND r.provider_runner_id IS NOT NULL AND (r.reservation_id IS NOT NULL OR r.session_id IS NOT NULL)
		ORDER BY r.provider_runner_id`, p.ID, millis(t.now.Add(-absentAfter)))
	return slices.DeleteFunc(old, func(r runner) bool { return shown[r.providerID] }), err
}

// endAbsent ends them.
func (t *tx) endAbsent(p Provisioner, shown map[string]bool) (absent []string, err error) {
	old, err := t.unreported(p, shown)
	for _, r := range old {
		event := RunnerEvent{ProviderID: r.providerID, Template: r.template, Labels: r.labels, State: RunnerTerminated, Reason: "absent", At: t.now}
		if _, err := t.report(p, event); err != nil {
			return nil, err
		}
		absent = append(absent, r.providerID)
	}
	return absent, err
}
