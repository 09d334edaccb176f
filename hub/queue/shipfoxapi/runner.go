package shipfoxapi

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/hub/queue"
	"github.com/slipway-ci/slipway/template"
	"github.com/slipway-ci/slipway/tokens"
)

// runnerAgent begins the User-Agent of Slipway's own runner.
const runnerAgent = "slipway-runner"

var (
	enrolmentCodes = []code{{queue.ErrUnauthorized, http.StatusUnauthorized, "runner-bootstrap-token-invalid"}}
	controlCodes   = []code{{queue.ErrRunnerEnded, http.StatusConflict, "runner-control-session-invalid"}}
	registerCodes  = []code{
		{queue.ErrTokenConsumed, http.StatusConflict, "registration-token-consumed"},
		{queue.ErrTokenExpired, http.StatusUnauthorized, "registration-token-expired"},
		{queue.ErrTokenRevoked, http.StatusUnauthorized, "manual-registration-token-revoked"},
	}
	jobCodes = []code{
		{queue.ErrSessionExhausted, http.StatusConflict, "runner-session-exhausted"},
		{queue.ErrLeaseEnded, http.StatusNotFound, "running-job-execution-not-found"},
		{queue.ErrLeaseJob, http.StatusNotFound, "lease-job-mismatch"},
	}
)

func (a *API) runnerRoutes() []route {
	return []route{
		{pattern: "POST /runner-enrollment/exchange", body: exchangeBody, handle: a.exchange, codes: enrolmentCodes},
		{pattern: "POST /runner-control/enrollment", body: enrolBody, handle: a.enrol, codes: controlCodes},
		{pattern: "POST /runner-control/provider-runner", body: attachBody, handle: a.attachSelf, codes: controlCodes},
		{pattern: "POST /runner-control/heartbeat", handle: a.controlHeartbeat, codes: controlCodes},
		{pattern: "GET /runner-control/assignment", handle: a.assignment, codes: controlCodes},
		{pattern: "POST /runners/register", body: registerBody, handle: a.register, codes: registerCodes},
		{pattern: "POST /runners/jobs/request", handle: a.requestJob, codes: jobCodes},
		{pattern: "POST /runners/jobs/{id}/heartbeat", body: heartbeatBody, handle: a.heartbeat, codes: jobCodes},
	}
}

func exchangeBody(*call) check { return strict(needed("bootstrap_token", text(1, 0))) }

func (a *API) exchange(c *call) (any, error) {
	session, err := a.queue.Exchange(c.Context(), str(c.body, "bootstrap_token"))
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"runner_instance_id": session.Runner, "control_session_token": session.Token.Reveal(), "expires_at": wireTime(session.ExpiresAt),
	}, nil
}

// isCapabilities is what a runner says of its tools; the queue has no use for it.
func isCapabilities() check {
	tools := optionalTools()
	return strict(needed("harnesses", strict(optional("pi", tools), optional("claude", tools))))
}

func optionalTools() check {
	items := list(0, 1000, text(0, 0))
	return strict(needed("tools", func(v any) string {
		if problem := items(v); problem != "" {
			return problem
		}
		seen := map[any]bool{}
		for _, tool := range v.([]any) {
			if seen[tool] {
				return "tools values must be unique"
			}
			seen[tool] = true
		}
		return ""
	}))
}

func enrolBody(*call) check {
	return strict(needed("labels", isLabels), optional("capabilities", isCapabilities()),
		needed("provider_kind", text(1, 64)), needed("protocol_version", text(1, 64)))
}

func (a *API) enrol(c *call) (any, error) {
	labels, err := template.Canonical(strs(c.body, "labels"))
	if err != nil {
		return nil, invalidBody(err.Error())
	}
	activation, err := a.queue.Enrol(c.Context(), c.token, queue.Enrolment{Labels: labels, Kind: str(c.body, "provider_kind")})
	return activationAnswer(activation), err
}

func activationAnswer(token tokens.Token) map[string]any {
	return map[string]any{"activation_token": nullable(token.Reveal())}
}

func (a *API) attachSelf(c *call) (any, error) {
	attached, err := a.queue.AttachSelf(c.Context(), c.token, str(c.body, "provider_runner_id"))
	return map[string]any{"attached": attached}, err
}

func (a *API) controlHeartbeat(c *call) (any, error) {
	return map[string]any{"ok": true}, a.queue.ControlHeartbeat(c.Context(), c.token)
}

func (a *API) assignment(c *call) (any, error) {
	wait := 30
	if text := c.URL.Query().Get("wait_seconds"); c.URL.Query().Has("wait_seconds") {
		seconds, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		if err != nil {
			return nil, validation("querystring", "Invalid input: expected number, received NaN")
		}
		if problem := integer(1, unbounded)(seconds); problem != "" {
			return nil, validation("querystring", problem)
		}
		wait = int(min(seconds, 3600))
	}
	activation, err := a.queue.Assignment(c.Context(), c.token, time.Duration(wait)*time.Second)
	return activationAnswer(activation), err
}

func registerBody(*call) check {
	return anObject(needed("labels", isLabels), optional("capabilities", isCapabilities()))
}

func (a *API) register(c *call) (any, error) {
	if err := a.limitRegister(c); err != nil {
		return nil, err
	}
	labels, err := template.Canonical(strs(c.body, "labels"))
	if err != nil {
		return nil, invalidBody(err.Error())
	}
	session, err := a.queue.Register(c.Context(), c.token, labels)
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"session_token": session.Token, "session_id": session.ID, "mode": session.Mode, "max_claims": session.MaxClaims,
	}, nil
}

// limitRegister counts the tries of one ephemeral token: of a token, not of an
// address, behind which many runners may start at once.
func (a *API) limitRegister(c *call) error {
	token, _ := a.queue.Authenticate(c.Context(), c.token, tokens.EphemeralRegistration)
	if token.ID == "" {
		return nil // another kind, or none at all: Register says so
	}
	if retry, ok := a.limits.allow("register "+token.ID, maxRegisterOf, time.Now()); !ok {
		return rateLimited(retry)
	}
	return nil
}

func (a *API) requestJob(c *call) (any, error) {
	claim, found, err := a.queue.Claim(c.Context(), c.token, strings.HasPrefix(c.UserAgent(), runnerAgent))
	if err != nil || !found {
		return nil, err
	}
	return map[string]any{
		"workflow_run_id": derived(claim.JobID, "workflow run"), "workflow_run_attempt_id": derived(claim.JobID, "workflow run attempt"),
		"job_id": claim.JobID, "job_execution_id": claim.Lease, "lease_token": claim.LeaseToken,
	}, nil
}

// heartbeatBody takes an empty body too.
func heartbeatBody(*call) check {
	body := strict(optional("capabilities", isCapabilities()))
	return func(v any) string {
		if v == (undefined{}) {
			return ""
		}
		return body(v)
	}
}

func (a *API) heartbeat(c *call) (any, error) {
	id := c.PathValue("id")
	if !uuidPattern.MatchString(id) {
		return nil, validation("params", "Invalid UUID")
	}
	renewal, err := a.queue.Renew(c.Context(), c.token, id)
	if err != nil {
		return nil, err
	}
	return map[string]any{"cancel": renewal.Cancel, "lease_token": renewal.LeaseToken}, nil
}
