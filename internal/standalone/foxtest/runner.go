package foxtest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Runner is one that has introduced itself.
type Runner struct {
	url, control, activation, session string
	labels                            []string
}

// Lease is a job that a runner has taken.
type Lease struct {
	// Job is its id.
	Job string

	url, token string
}

// agent makes the hub take it for one of its own runners.
const agent = "slipway-runner/test"

var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// Introduce does what a runner with the environment does first.
func Introduce(ctx context.Context, env map[string]string) (*Runner, error) {
	r := &Runner{url: strings.TrimRight(env["SHIPFOX_API_URL"], "/"), labels: strings.Split(env["SHIPFOX_RUNNER_LABELS"], ",")}
	if token := env["SHIPFOX_RUNNER_REGISTRATION_TOKEN"]; token != "" {
		r.activation = token
		return r, r.register(ctx)
	}
	var exchanged struct {
		Control string `json:"control_session_token"`
	}
	body := map[string]any{"bootstrap_token": env["SHIPFOX_RUNNER_BOOTSTRAP_TOKEN"]}
	if _, err := r.call(ctx, "POST", "/runner-enrollment/exchange", "", body, &exchanged); err != nil {
		return nil, err
	}
	r.control = exchanged.Control
	var enrolled struct {
		Activation string `json:"activation_token"`
	}
	body = map[string]any{"labels": r.labels, "provider_kind": env["SHIPFOX_RUNNER_PROVIDER_KIND"], "protocol_version": "1"}
	_, err := r.call(ctx, "POST", "/runner-control/enrollment", r.control, body, &enrolled)
	r.activation = enrolled.Activation
	return r, err
}

// Take registers and asks for a job, once. No job is (nil, nil).
func (r *Runner) Take(ctx context.Context) (*Lease, error) {
	if r.activation == "" {
		var told struct {
			Activation string `json:"activation_token"`
		}
		if _, err := r.call(ctx, "GET", "/runner-control/assignment?wait_seconds=1", r.control, nil, &told); err != nil || told.Activation == "" {
			return nil, err
		}
		r.activation = told.Activation
	}
	if r.session == "" {
		if err := r.register(ctx); err != nil {
			return nil, err
		}
	}
	var claim struct {
		Job   string `json:"job_id"`
		Lease string `json:"lease_token"`
	}
	status, err := r.call(ctx, "POST", "/runners/jobs/request", r.session, nil, &claim)
	if status == http.StatusNoContent || status == http.StatusConflict {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &Lease{Job: claim.Job, url: r.url, token: claim.Lease}, nil
}

func (r *Runner) register(ctx context.Context) error {
	var registered struct {
		Session string `json:"session_token"`
	}
	_, err := r.call(ctx, "POST", "/runners/register", r.activation, map[string]any{"labels": r.labels}, &registered)
	r.session = registered.Session
	return err
}

// Finish tells that the job ended with the exit code.
func (l *Lease) Finish(ctx context.Context, code int) error {
	outcome := "succeeded"
	if code != 0 {
		outcome = "failed"
	}
	r := &Runner{url: l.url}
	_, err := r.call(ctx, "POST", "/api/v1/runner/result", l.token, map[string]any{"outcome": outcome, "exit_code": code, "reason": "", "log_bytes": 0}, nil)
	return err
}

func (r *Runner) call(ctx context.Context, method, path, token string, body, answer any) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return 0, err
		}
		content = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, r.url+path, content)
	if err != nil {
		return 0, err
	}
	req.Header.Set("User-Agent", agent)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	switch {
	case err != nil:
		return res.StatusCode, err
	case res.StatusCode >= 300:
		return res.StatusCode, fmt.Errorf("%s %s: %d %s", method, path, res.StatusCode, text)
	case answer != nil && len(text) > 0:
		return res.StatusCode, json.Unmarshal(text, answer)
	}
	return res.StatusCode, nil
}
