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
	if g != Head {
		if runners, err = c.known(ctx, g, runners); err != nil || len(runners) == 0 {
			return nil, err
		}
	}
	if err := c.tell(ctx, runners, provisioner.EventStopping); err != nil {
		return nil, err
	}
	rows, err := c.reconcile(ctx, g, c.withObserved(runners))
	if err != nil {
		return nil, err
	}
	fenced := slices.DeleteFunc(slices.Clone(runners), func(r provisioner.Ref) bool {
		return rows[r.ID].shown(g) || c.isRegistered(r.ID)
	})
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

// known are those that the service shows, or was told of: a report would make a row
// of any other. At head it shows none that is not assigned.
func (c *ControlPlane) known(ctx context.Context, g Generation, runners []provisioner.Ref) ([]provisioner.Ref, error) {
	rows, err := c.reconcile(ctx, g, c.withObserved(runners))
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(runners), func(r provisioner.Ref) bool {
		return rows[r.ID].State == nil && !c.isTold(r.ID)
	}), nil
}

func (c *ControlPlane) tell(ctx context.Context, runners []provisioner.Ref, state provisioner.EventState) error {
	events := make([]provisioner.Event, len(runners))
	for i, r := range runners {
		events[i] = provisioner.Event{Runner: r.ID, Labels: r.Labels, State: state, Reason: reasonDeadline, At: time.Now()}
	}
	return c.report(ctx, events)
}
