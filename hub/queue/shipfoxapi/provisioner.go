package shipfoxapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/hub/queue/grant"
	"github.com/slipway-ci/slipway/template"
)

// The generations that have a route.
var (
	everyone  = []queue.Generation{queue.GenerationHead, queue.GenerationERT, queue.GenerationPR}
	headOnly  = []queue.Generation{queue.GenerationHead}
	instances = []queue.Generation{queue.GenerationHead, queue.GenerationERT}
	prOnly    = []queue.Generation{queue.GenerationPR}
	minting   = []queue.Generation{queue.GenerationERT, queue.GenerationPR}
)

// names are the field names that changed from one generation to the next.
type names struct {
	runnerID, runners, observed, absent, terminate string
}

func namesOf(g queue.Generation) names {
	if g == queue.GenerationPR {
		return names{
			runnerID: "provisioned_runner_id", runners: "provisioned_runners",
			observed: "observed_provisioned_runner_ids", absent: "terminated_absent_provisioned_runner_ids",
			terminate: "terminate_provisioned_runner_ids",
		}
	}
	return names{
		runnerID: "provider_runner_id", runners: "runner_instances",
		observed: "observed_provider_runner_ids", absent: "terminated_absent_provider_runner_ids",
		terminate: "terminate_provider_runner_ids",
	}
}

// tokenCodes are what provisioners are told of their tokens.
var tokenCodes = []code{
	{queue.ErrTokenRevoked, http.StatusUnauthorized, "provisioner-token-revoked"},
	{queue.ErrTokenExpired, http.StatusUnauthorized, "provisioner-token-expired"},
	{queue.ErrReservationNotFound, http.StatusNotFound, "reservation-not-found"},
	{queue.ErrReservationExpired, http.StatusConflict, "reservation-expired"},
	{queue.ErrNotAssignable, http.StatusConflict, "runner-instance-not-assignable"},
}

func (a *API) provisionerRoutes() []route {
	routes := []route{
		{pattern: "GET /provisioners/me", generations: everyone, handle: a.me},
		{pattern: "POST /provisioners/demand/poll", generations: everyone, body: pollBody, handle: a.poll},
		{pattern: "POST /provisioners/runner-instances/batch", generations: headOnly, body: batchBody, handle: a.batch},
		{pattern: "POST /provisioners/runner-instances/{id}/provider-runner", generations: headOnly, body: attachBody, handle: a.attach},
		{pattern: "POST /provisioners/runner-instances/assignments", generations: headOnly, body: assignBody, handle: a.assign},
		{pattern: "POST /provisioners/runner-instances/report", generations: instances, body: reportBody, handle: a.report},
		{pattern: "POST /provisioners/runner-instances/reconcile", generations: instances, body: reconcileBody, handle: a.reconcile},
		{pattern: "POST /provisioners/provisioned-runners/report", generations: prOnly, body: reportBody, handle: a.report},
		{pattern: "POST /provisioners/provisioned-runners/reconcile", generations: prOnly, body: reconcileBody, handle: a.reconcile},
		{pattern: "POST /provisioners/runner-registration-tokens/batch", generations: minting, body: mintBody, handle: a.mint},
	}
	for i := range routes {
		routes[i].codes = tokenCodes
	}
	return routes
}

func (a *API) me(c *call) (any, error) {
	return map[string]any{"id": c.provisioner.ID, "scope": "workspace", "workspace_id": a.queue.Workspace()}, nil
}

// defaultPollWait is for polls that name none; the queue bounds it.
const defaultPollWait = 30 * time.Second

func pollBody(c *call) check {
	templates := 1000
	fields := []field{optional("wait_seconds", integer(0, unbounded))}
	if c.provisioner.Generation == queue.GenerationHead {
		fields = append(fields, optional("reservation_ttl_seconds", integer(1, unbounded)))
	} else {
		templates = 100
	}
	count := integer(0, 100_000)
	return anObject(append(fields,
		needed("max_reservations", integer(0, 1000)),
		needed("templates", list(0, templates, anObject(
			needed("template_key", text(1, 0)), needed("labels", isLabels),
			needed("available_slots", count), needed("starting", count), needed("running", count),
		))),
	)...)
}

func (a *API) poll(c *call) (any, error) {
	request, err := pollRequest(c)
	if err != nil {
		return nil, err
	}
	answer, err := a.queue.Poll(c.Context(), c.provisioner, request)
	if err != nil {
		return nil, err
	}
	c.lost = func() { a.giveBack(c, answer.Reservations) }
	return pollAnswer(c.provisioner.Generation, answer), nil
}

func pollRequest(c *call) (queue.PollRequest, error) {
	request := queue.PollRequest{Wait: defaultPollWait, Max: num(c.body, "max_reservations")}
	if _, ok := c.body["wait_seconds"]; ok {
		request.Wait = time.Duration(num(c.body, "wait_seconds")) * time.Second
	}
	if c.provisioner.Generation == queue.GenerationHead {
		request.TTL = time.Duration(num(c.body, "reservation_ttl_seconds")) * time.Second
	}
	for _, t := range objects(c.body, "templates") {
		labels, err := template.Canonical(strs(t, "labels"))
		if err != nil {
			return request, invalidBody(err.Error())
		}
		request.Slots = append(request.Slots, grant.Slots{Key: str(t, "template_key"), Labels: labels, Free: num(t, "available_slots")})
	}
	return request, nil
}

func (a *API) giveBack(c *call, reservations []queue.Reservation) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Context()), 10*time.Second)
	defer cancel()
	if err := a.queue.GiveBack(ctx, c.provisioner, reservations); err != nil {
		a.log.Warn("reservations of a lost answer stay until they expire", "err", err)
	}
}

func pollAnswer(g queue.Generation, answer queue.PollAnswer) map[string]any {
	stats := make([]map[string]any, len(answer.Stats))
	for i, s := range answer.Stats {
		stats[i] = map[string]any{"labels": s.Labels, "queued": s.Queued, "reserved": s.Reserved, "oldest_queued_at": wireTime(s.Oldest)}
	}
	reservations := make([]map[string]any, len(answer.Reservations))
	for i, r := range answer.Reservations {
		reservations[i] = map[string]any{"reservation_id": r.ID, "labels": r.Labels, "count": r.Count, "expires_at": wireTime(r.ExpiresAt)}
	}
	terminate := make([]string, len(answer.Terminate))
	for i, intent := range answer.Terminate {
		terminate[i] = intent.Runner
	}
	body := map[string]any{"stats": stats, "reservations": reservations, namesOf(g).terminate: terminate}
	if g == queue.GenerationHead && answer.NewlyReserved > 0 {
		body["newly_reserved_count"] = answer.NewlyReserved
	}
	return body
}

func batchBody(*call) check {
	return strict(
		optional("provider_kind", text(1, 64)),
		needed("runner_instances", list(1, 500, strict(
			optional("template_key", text(1, 255)), optional("reservation_id", isUUID),
		))),
	)
}

func (a *API) batch(c *call) (any, error) {
	wanted := objects(c.body, "runner_instances")
	requests := make([]queue.InstanceRequest, len(wanted))
	for i, w := range wanted {
		requests[i] = queue.InstanceRequest{Template: str(w, "template_key"), Reservation: str(w, "reservation_id")}
	}
	minted, err := a.queue.Mint(c.Context(), c.provisioner, requests)
	if err != nil {
		return nil, err
	}
	list := make([]map[string]any, len(minted))
	for i, m := range minted {
		list[i] = map[string]any{"runner_instance_id": m.ID, "bootstrap_token": m.Token.Reveal(), "request_index": m.Index}
	}
	body := map[string]any{"runner_instances": list}
	if len(minted) < len(requests) {
		body["reservation_unavailable"] = true
	}
	return body, nil
}

func attachBody(*call) check { return anObject(needed("provider_runner_id", text(1, 255))) }

func (a *API) attach(c *call) (any, error) {
	id := c.PathValue("id")
	if !uuidPattern.MatchString(id) {
		return nil, validation("params", "Invalid UUID")
	}
	attached, err := a.queue.Attach(c.Context(), c.provisioner, id, str(c.body, "provider_runner_id"))
	if errors.Is(err, queue.ErrRunnerConflict) {
		return nil, errServer // so the API tells it
	}
	return map[string]any{"attached": attached}, err
}

func assignBody(*call) check {
	return strict(needed("reservation_id", isUUID), needed("runner_instance_ids", list(1, 1000, isUUID)))
}

func (a *API) assign(c *call) (any, error) {
	ids := strs(c.body, "runner_instance_ids")
	if err := unique(ids, "runner_instance_ids"); err != nil {
		return nil, err
	}
	if err := a.queue.Assign(c.Context(), c.provisioner, str(c.body, "reservation_id"), ids); err != nil {
		return nil, err
	}
	return map[string]any{"runner_instance_ids": ids}, nil
}
