package shipfox

import (
	"context"
	"fmt"
	"net/http"

	"github.com/slipway-ci/slipway/provisioner"
)

// row is what a reconcile tells of one runner.
type row struct {
	ID          string  `json:"provider_runner_id"`
	IDPr        string  `json:"provisioned_runner_id"`
	State       *string `json:"state"`
	Reservation *string `json:"reservation_id"`
	Session     *string `json:"runner_session_id"`
	Job         *struct {
		ID        string  `json:"job_id"`
		Cancelled *string `json:"cancellation_requested_at"`
	} `json:"bound_job"`
	Intent string `json:"desired_intent"`
}

func (r row) id() string { return r.ID + r.IDPr }

// shown says whether the reconcile shows that the runner registered.
func (r row) shown(g Generation) bool {
	return r.Session != nil || r.Job != nil || g == Head && r.Reservation != nil
}

// Facts reconciles. It carries every runner that it is asked about, in one
// request: what the service does not find in it, and was not told of lately, it
// ends. Above 5000 runners, or while reports are not accepted, it is not called
// and the error is ErrNotAsked.
func (c *ControlPlane) Facts(ctx context.Context, runners []provisioner.Ref) ([]provisioner.Fact, error) {
	g, err := c.Generation(ctx)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(runners))
	for i, r := range runners {
		ids[i] = r.ID
	}
	rows, err := c.reconcile(ctx, g, ids)
	if err != nil {
		return nil, err
	}
	c.remember(ids)
	facts := make([]provisioner.Fact, 0, len(runners))
	var unknown []provisioner.Ref
	for _, r := range runners {
		fact := c.fact(g, r, rows[r.ID])
		if g == Head && fact.Registered != provisioner.Yes && r.Labels[provisioner.LabelReservation] != "" {
			unknown = append(unknown, r)
		}
		facts = append(facts, fact)
	}
	assigned := c.assignments(ctx, unknown)
	for i := range facts {
		if known, asked := assigned[facts[i].Runner]; asked {
			facts[i].Registered = known
		}
		if facts[i].Registered == provisioner.Yes {
			c.setRegistered(facts[i].Runner)
		}
	}
	return facts, nil
}

// fact is what a row tells; the zero row is of a runner that the answer leaves out.
// In the older generations a runner without a session is known not to be registered,
// if the service knows it: by its own word, or since it took ours (the row of one
// that is told of is made before its launch, and a session hangs on it). At head it
// is unknown: the service shows no runner before it is assigned.
func (c *ControlPlane) fact(g Generation, r provisioner.Ref, row row) provisioner.Fact {
	fact := provisioner.Fact{Runner: r.ID}
	switch {
	case c.isRegistered(r.ID) || row.shown(g):
		fact.Registered = provisioner.Yes
	case g != Head && (row.State != nil || c.isTold(r.ID)):
		fact.Registered = provisioner.No
	}
	if row.Job != nil {
		fact.Busy, fact.Job = provisioner.Yes, row.Job.ID
	}
	if row.Intent == "terminate" {
		fact.Unwanted, fact.Reason = true, "terminal-state"
		if row.Job != nil && row.Job.Cancelled != nil {
			fact.Reason = "job-cancelled"
		}
	}
	return fact
}

func (c *ControlPlane) reconcile(ctx context.Context, g Generation, ids []string) (map[string]row, error) {
	c.mu.Lock()
	unreported := c.unreported
	c.mu.Unlock()
	switch {
	case len(ids) > maxObserved:
		return nil, fmt.Errorf("%w: %d runners, and a reconcile takes at most %d", ErrNotAsked, len(ids), maxObserved)
	case unreported:
		return nil, fmt.Errorf("%w: reports are not accepted, and a reconcile would end what was not told of", ErrNotAsked)
	}
	var answer struct {
		Runners []row `json:"runners"`
	}
	n := generations[g]
	k := call{method: http.MethodPost, path: n.reconcile, body: map[string][]string{n.observed: append([]string{}, ids...)}, answer: &answer, limit: callTimeout}
	if g == Head {
		k.header = map[string]string{"x-shipfox-reconcile-intended-reservation": "1"}
	}
	if _, err := c.client.do(ctx, k); err != nil {
		c.forgetGeneration(err)
		return nil, err
	}
	if answer.Runners == nil && len(ids) > 0 {
		return nil, fmt.Errorf("shipfox: POST %s: the answer tells of no runners at all", n.reconcile)
	}
	rows := make(map[string]row, len(answer.Runners))
	for _, r := range answer.Runners {
		rows[r.id()] = r
	}
	return rows, nil
}

// assignments asks for each reservation whether its runners are assigned: the
// whole list first, and one by one where that is refused, so that one that never
// enrols hides no other. What can't be told is left out.
func (c *ControlPlane) assignments(ctx context.Context, runners []provisioner.Ref) map[string]provisioner.Known {
	known := map[string]provisioner.Known{}
	byReservation := map[string][]provisioner.Ref{}
	var order []string
	for _, r := range runners {
		reservation := r.Labels[provisioner.LabelReservation]
		if r.Labels[LabelInstance] == "" {
			continue
		}
		if byReservation[reservation] == nil {
			order = append(order, reservation)
		}
		byReservation[reservation] = append(byReservation[reservation], r)
	}
	for _, reservation := range order {
		group := byReservation[reservation]
		verdict := c.assign(ctx, reservation, group)
		if verdict == provisioner.No && len(group) > 1 {
			for _, r := range group {
				known[r.ID] = c.assign(ctx, reservation, []provisioner.Ref{r})
			}
			continue
		}
		for _, r := range group {
			known[r.ID] = verdict
		}
	}
	return known
}

// assign is Yes when the service takes the list, No when it refuses it, and
// Unknown when it does not say.
func (c *ControlPlane) assign(ctx context.Context, reservation string, group []provisioner.Ref) provisioner.Known {
	ids := make([]string, len(group))
	for i, r := range group {
		ids[i] = r.Labels[LabelInstance]
	}
	var answer struct {
		IDs []string `json:"runner_instance_ids"`
	}
	body := map[string]any{"reservation_id": reservation, "runner_instance_ids": ids}
	_, err := c.client.post(ctx, routeAssign, body, &answer)
	switch {
	case err == nil:
		return provisioner.Yes
	case hasStatus(err, http.StatusNotFound, http.StatusConflict) && !noRoute(err):
		return provisioner.No
	default:
		c.forgetGeneration(err)
		c.log.Debug("assignments", "reservation", reservation, "err", err)
		return provisioner.Unknown
	}
}
