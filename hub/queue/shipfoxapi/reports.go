package shipfoxapi

import (
	"errors"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/template"
)

func reportBody(c *call) check {
	fields := []field{needed(namesOf(c.provisioner.Generation).runnerID, text(1, 255))}
	if c.provisioner.Generation == queue.GenerationHead {
		fields = append(fields, optional("runner_instance_id", isUUID))
	}
	return anObject(needed("events", list(1, 1000, strict(append(fields,
		optional("reservation_id", isUUID), optional("runner_session_id", isUUID), optional("template_key", text(1, 255)),
		needed("labels", isLabels),
		needed("state", oneOf("starting", "running", "stopping", "stopped", "failed", "terminated")),
		optional("reason", text(1, 500)), needed("reported_at", isTime), optional("provider_kind", text(1, 64)),
	)...))))
}

func (a *API) report(c *call) (any, error) {
	events := objects(c.body, "events")
	reports := make([]queue.RunnerEvent, len(events))
	for i, e := range events {
		labels, err := template.Canonical(strs(e, "labels"))
		if err != nil {
			return nil, invalidBody(err.Error())
		}
		at, err := parseTime(str(e, "reported_at"))
		if err != nil {
			return nil, invalidBody("Invalid ISO datetime")
		}
		reports[i] = queue.RunnerEvent{
			ProviderID: str(e, namesOf(c.provisioner.Generation).runnerID), Reservation: str(e, "reservation_id"),
			Template: str(e, "template_key"), Labels: labels, State: queue.RunnerState(str(e, "state")),
			Reason: str(e, "reason"), At: at, Kind: str(e, "provider_kind"),
		}
	}
	accepted, released, err := a.queue.Report(c.Context(), c.provisioner, reports)
	return map[string]any{"accepted": accepted, "reservations_released": released}, err
}

func reconcileBody(c *call) check {
	return strict(needed(namesOf(c.provisioner.Generation).observed, list(0, 5000, text(1, 255))))
}

// intendedHeader asks for one more field in each row of a reconciliation.
const intendedHeader = "X-Shipfox-Reconcile-Intended-Reservation"

func (a *API) reconcile(c *call) (any, error) {
	n := namesOf(c.provisioner.Generation)
	observed := strs(c.body, n.observed)
	if err := unique(observed, n.observed); err != nil {
		return nil, err
	}
	views, absent, err := a.queue.Reconcile(c.Context(), c.provisioner, observed)
	if err != nil {
		return nil, err
	}
	intended := c.provisioner.Generation == queue.GenerationHead && c.Header.Get(intendedHeader) == "1"
	rows := make([]map[string]any, len(views))
	for i, v := range views {
		rows[i] = viewRow(v, n.runnerID)
		if intended {
			rows[i]["intended_reservation_id"] = nullable(v.Intended)
		}
	}
	if absent == nil {
		absent = []string{}
	}
	return map[string]any{"runners": rows, n.absent: absent}, nil
}

func viewRow(v queue.RunnerView, idName string) map[string]any {
	intent := "keep"
	if v.Terminate {
		intent = "terminate"
	}
	row := map[string]any{
		idName: v.ProviderID, "state": nullable(string(v.State)), "reservation_id": nullable(v.Reservation),
		"runner_session_id": nullable(v.Session), "bound_job": nil, "desired_intent": intent,
	}
	if v.Job != nil {
		row["bound_job"] = map[string]any{
			"job_id": v.Job.ID, "workflow_run_attempt_id": derived(v.Job.ID, "workflow run attempt"),
			"last_heartbeat_at": wireTime(v.Job.RenewedAt), "cancellation_requested_at": wireTime(v.Job.CancelRequestedAt),
		}
	}
	return row
}

// derived makes the ids that the API has and a queue of single jobs has not.
func derived(job, what string) string {
	space, err := uuid.Parse(job)
	if err != nil {
		space = uuid.Nil
	}
	return uuid.NewSHA1(space, []byte(what)).String()
}

// Limits of minting registration tokens.
const (
	maxMintBody   = 1000 // what the schema takes
	maxMint       = 500  // what is configured
	maxMintCalls  = 120  // per minute and provisioner
	maxRegisterOf = 5    // per minute and registration token
)

func mintBody(c *call) check {
	n := namesOf(c.provisioner.Generation)
	return anObject(needed("reservation_id", isUUID), needed(n.runners, list(1, maxMintBody, anObject(needed(n.runnerID, text(1, 255))))))
}

func (a *API) mint(c *call) (any, error) {
	n := namesOf(c.provisioner.Generation)
	var ids []string
	for _, r := range objects(c.body, n.runners) {
		ids = append(ids, str(r, n.runnerID))
	}
	if err := unique(ids, n.runnerID); err != nil {
		return nil, err
	}
	if retry, ok := a.limits.allow("mint "+c.provisioner.ID, maxMintCalls, time.Now()); !ok {
		return nil, rateLimited(retry)
	}
	if len(ids) > maxMint {
		return nil, &apiError{
			status: http.StatusBadRequest, code: "batch-too-large",
			details: map[string]any{"requested": len(ids), "max": maxMint},
		}
	}
	minted, err := a.queue.MintTokens(c.Context(), c.provisioner, str(c.body, "reservation_id"), ids)
	if err != nil {
		return nil, mintError(err, n)
	}
	list := make([]map[string]any, len(minted))
	for i, m := range minted {
		list[i] = map[string]any{n.runnerID: m.ProviderID, "registration_token": m.Token.Reveal(), "expires_at": wireTime(m.ExpiresAt)}
	}
	return map[string]any{"tokens": list}, nil
}

func mintError(err error, n names) error {
	var (
		exceeds *queue.ExceedsError
		active  *queue.ActiveTokenError
	)
	switch {
	case errors.As(err, &exceeds):
		return &apiError{status: http.StatusConflict, code: "batch-exceeds-reservation", details: map[string]any{
			"requested": exceeds.Requested, "reservation_count": exceeds.Count, "already_minted": exceeds.Minted,
		}}
	case errors.As(err, &active):
		return &apiError{status: http.StatusConflict, code: "registration-token-active", details: map[string]any{n.runnerID + "s": active.Runners}}
	}
	return err
}
