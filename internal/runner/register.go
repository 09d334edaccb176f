package runner

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/slipway-ci/slipway/tokens"
)

const (
	protocolVersion     = "1"
	controlHeartbeat    = 10 * time.Second
	assignmentWait      = 25 * time.Second
	assignmentWaitQuery = "runner-control/assignment?wait_seconds=25"
)

// introduce turns the credential into a session's token.
func (r *runner) introduce(ctx context.Context) (session string, err error) {
	token := r.Token.Reveal()
	if r.Token.Kind() == tokens.Bootstrap {
		if token, err = r.enrol(ctx, token); err != nil {
			return "", err
		}
	}
	ctx, cancel := r.reach(ctx)
	defer cancel()
	var answer struct {
		Session string `json:"session_token"`
	}
	err = retry(ctx, r.log, "register", callTimeout, func(ctx context.Context) error {
		body := map[string]any{"labels": r.Labels}
		return r.api.call(ctx, http.MethodPost, "runners/register", token, body, &answer)
	})
	if err == nil && answer.Session == "" {
		err = errors.New("the answer holds no session")
	}
	return answer.Session, err
}

// enrol exchanges the bootstrap token and waits for an activation token.
func (r *runner) enrol(ctx context.Context, bootstrap string) (activation string, err error) {
	control, err := r.exchange(ctx, bootstrap)
	if err != nil {
		return "", err
	}
	activation, err = r.enrolment(ctx, control)
	if err == nil && activation == "" {
		activation, err = r.await(ctx, control)
	}
	if isStatus(err, http.StatusUnauthorized, http.StatusConflict) {
		return "", errNotWanted
	}
	return activation, err
}

func (r *runner) exchange(ctx context.Context, bootstrap string) (control string, err error) {
	ctx, cancel := r.reach(ctx)
	defer cancel()
	var answer struct {
		Control string `json:"control_session_token"`
	}
	err = retry(ctx, r.log, "exchange bootstrap token", callTimeout, func(ctx context.Context) error {
		body := map[string]any{"bootstrap_token": bootstrap}
		return r.api.call(ctx, http.MethodPost, "runner-enrollment/exchange", "", body, &answer)
	})
	return answer.Control, err
}

// activationAnswer holds null where there is nothing to do yet.
type activationAnswer struct {
	Token string `json:"activation_token"`
}

func (r *runner) enrolment(ctx context.Context, control string) (activation string, err error) {
	ctx, cancel := r.reach(ctx)
	defer cancel()
	var answer activationAnswer
	err = retry(ctx, r.log, "enrol", callTimeout, func(ctx context.Context) error {
		body := map[string]any{"labels": r.Labels, "provider_kind": r.ProviderKind, "protocol_version": protocolVersion}
		return r.api.call(ctx, http.MethodPost, "runner-control/enrollment", control, body, &answer)
	})
	return answer.Token, err
}

// await polls for the assignment, with heartbeats beside it, for as long as the
// runner lives: a warm runner has no other bound.
func (r *runner) await(ctx context.Context, control string) (activation string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	var beats sync.WaitGroup
	beats.Go(func() {
		for sleep(ctx, controlHeartbeat) {
			once, done := context.WithTimeout(ctx, callTimeout)
			// Its failure needs no answer: the poll meets the same one.
			_ = r.api.call(once, http.MethodPost, "runner-control/heartbeat", control, nil, nil)
			done()
		}
	})
	defer beats.Wait()
	defer cancel()
	pause := newPause(200*time.Millisecond, 2*time.Second)
	for {
		var answer activationAnswer
		began := time.Now()
		err := retry(ctx, r.log, "wait for assignment", assignmentWait+15*time.Second, func(ctx context.Context) error {
			return r.api.call(ctx, http.MethodGet, assignmentWaitQuery, control, nil, &answer)
		})
		if err != nil || answer.Token != "" {
			return answer.Token, err
		}
		// Polls that return at once and empty are spaced.
		if time.Since(began) > time.Second {
			pause.Reset()
		} else if !sleep(ctx, pause.NextBackOff()) {
			return "", context.Cause(ctx)
		}
	}
}
