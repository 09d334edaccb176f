package shipfox

import (
	"context"
	"slices"
	"time"

	"github.com/slipway-ci/slipway/provisioner"
)

// reasonDeadline is told of runners that never registered.
const reasonDeadline = "registration-deadline"

// Retire fences runners that are not known to be registered: "stopping" makes
// them unassignable; then it is asked again, and only those of which reconcile
// shows nothing, and which assignments refuses, are told to be terminated. That
// is told before they are removed: a late enrolment lifts "stopping", a
// terminal state it does not. What can't be told now is kept.
func (c *ControlPlane) Retire(ctx context.Context, runners []provisioner.Ref) (retired []string, err error) {
	if len(runners) == 0 {
		return nil, nil
	}
	g, err := c.Generation(ctx)
	if err != nil {
		return nil, err
	}
	if runners, err = c.unregistered(ctx, g, runners); err != nil || len(runners) == 0 {
		return nil, err
	}
	if err := c.tell(ctx, runners, provisioner.EventStopping); err != nil {
		return nil, err
	}
	fenced, err := c.unregistered(ctx, g, runners)
	if err != nil {
		return nil, err
	}
	if g == Head {
		fenced = slices.DeleteFunc(fenced, func(r provisioner.Ref) bool {
			return r.Labels[provisioner.LabelReservation] == "" || c.assignments(ctx, []provisioner.Ref{r})[r.ID] != provisioner.No
		})
	}
	if len(fenced) == 0 {
		return nil, nil
	}
	if err := c.tell(ctx, fenced, provisioner.EventTerminated); err != nil {
		return nil, err
	}
	for _, r := range fenced {
		retired = append(retired, r.ID)
	}
	return retired, nil
}

// unregistered are those that a reconcile shows without a session or a job, and that
// never were otherwise. In the older generations the service must show them, or have
// been told of them: a report would make a row of any other. At head it shows none that
// is not assigned.
func (c *ControlPlane) unregistered(ctx context.Context, g Generation, runners []provisioner.Ref) (out []provisioner.Ref, err error) {
	rows, err := c.reconcile(ctx, g, c.withObserved(runners))
	if err != nil {
		return nil, err
	}
	for _, r := range runners {
		row := rows[r.ID]
		if row.shown(g) {
			c.setRegistered(r.ID)
		}
		if !c.isRegistered(r.ID) && (g == Head || row.State != nil || c.isTold(r.ID)) {
			out = append(out, r)
		}
	}
	return out, nil
}

func (c *ControlPlane) tell(ctx context.Context, runners []provisioner.Ref, state provisioner.EventState) error {
	events := make([]provisioner.Event, len(runners))
	for i, r := range runners {
		events[i] = provisioner.Event{Runner: r.ID, Labels: r.Labels, State: state, Reason: reasonDeadline, At: time.Now()}
	}
	return c.report(ctx, events)
}
