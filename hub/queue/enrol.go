package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/slipway-ci/slipway/tokens"
)

const (
	// controlLifetime is that of a control session.
	controlLifetime = time.Hour
	// activationLifetime is that of an activation token.
	activationLifetime = 5 * time.Minute
	// maxAssignmentWait bounds one wait for an assignment.
	maxAssignmentWait = 30 * time.Second
)

// ControlSession is what a runner gets for its bootstrap token.
type ControlSession struct {
	// Runner is the queue's id of the runner.
	Runner    string
	Token     tokens.Token
	ExpiresAt time.Time
}

// Exchange gives a control session for a bootstrap token, once. Whatever is wrong
// with the token is ErrUnauthorized.
func (q *Queue) Exchange(ctx context.Context, bootstrap string) (session ControlSession, err error) {
	secret := tokens.New(tokens.ControlSession)
	err = q.write(ctx, func(t *tx) error {
		token, err := t.authenticate(bootstrap, tokens.Bootstrap)
		if err != nil {
			return err
		}
		if err := t.consume(token); err != nil {
			return err
		}
		if _, err := t.addToken(secret, "", controlLifetime, "", token.runner); err != nil {
			return err
		}
		session = ControlSession{Runner: token.runner, Token: secret, ExpiresAt: t.now.Add(controlLifetime)}
		return t.launched(token.runner)
	})
	if errors.Is(err, ErrTokenConsumed) || errors.Is(err, ErrTokenExpired) || errors.Is(err, ErrTokenRevoked) {
		err = ErrUnauthorized
	}
	if err != nil {
		return ControlSession{}, fmt.Errorf("queue: exchange bootstrap token: %w", err)
	}
	return session, nil
}

// control finds the runner of a control session. ErrUnauthorized: there is none;
// ErrRunnerEnded: it has ended.
func (t *tx) control(text string) (runner, error) {
	token, err := t.authenticate(text, tokens.ControlSession)
	if errors.Is(err, ErrTokenExpired) || errors.Is(err, ErrTokenConsumed) || errors.Is(err, ErrTokenRevoked) {
		err = ErrUnauthorized
	}
	if err != nil {
		return runner{}, err
	}
	r, found, err := t.runner(token.runner)
	switch {
	case err != nil:
		return r, err
	case !found:
		return r, ErrUnauthorized
	case r.ended():
		return r, ErrRunnerEnded
	}
	return r, nil
}

// Enrolment is how a runner introduces itself.
type Enrolment struct {
	// Labels are canonical.
	Labels []string
	// Kind names its backend.
	Kind string
}

// Enrol makes a runner ready for a job. If one waits for it already, the answer
// is its activation token; else a zero one. Errors: ErrUnauthorized,
// ErrRunnerEnded.
func (q *Queue) Enrol(ctx context.Context, control string, e Enrolment) (activation tokens.Token, err error) {
	err = q.write(ctx, func(t *tx) error {
		activation = tokens.Token{}
		r, err := t.control(control)
		if err != nil {
			return err
		}
		if _, err := t.Exec(`UPDATE runners SET label_set = ?, provider_kind = ?, enrolled_at = coalesce(enrolled_at, ?), seen_at = ? WHERE id = ?`,
			joinLabels(e.Labels), e.Kind, millis(t.now), millis(t.now), r.id); err != nil {
			return err
		}
		r.labels = e.Labels
		if r.reservation == "" && !r.retired {
			if err := t.assignEnrolled(r); err != nil {
				return err
			}
		}
		activation, err = t.activate(r.id)
		return err
	})
	if err != nil {
		return tokens.Token{}, fmt.Errorf("queue: enrol runner: %w", err)
	}
	return activation, nil
}

// assignEnrolled gives a runner the job that is meant for it, or any that waits.
func (t *tx) assignEnrolled(r runner) error {
	meant, err := t.meantFor(r.id)
	if err != nil {
		return err
	}
	if len(meant) > 0 && coversAll(r.labels, meant) {
		return t.promote(r, meant[0].reservation)
	}
	if len(meant) > 0 {
		return t.requeueOf(r.id, "runner has other labels")
	}
	return t.adoptIdle()
}

// activate makes an activation token for a runner that has a job to come for.
// Earlier ones that were not used end: their answer may have been lost.
func (t *tx) activate(id string) (tokens.Token, error) {
	r, found, err := t.runner(id)
	if err != nil || !found || r.reservation == "" || r.session != "" || r.retired || r.ended() {
		return tokens.Token{}, err
	}
	meant, err := t.meantFor(id)
	if err != nil || len(meant) == 0 {
		return tokens.Token{}, err
	}
	if _, err := t.Exec(`DELETE FROM tokens WHERE runner_id = ? AND kind = 'rat' AND consumed_at IS NULL`, id); err != nil {
		return tokens.Token{}, err
	}
	secret := tokens.New(tokens.Activation)
	_, err = t.addToken(secret, "", activationLifetime, "", id)
	return secret, err
}

// ControlHeartbeat says that an enrolled runner is alive. Errors: ErrUnauthorized,
// ErrRunnerEnded.
func (q *Queue) ControlHeartbeat(ctx context.Context, control string) error {
	return q.read(ctx, func(t *tx) error {
		_, err := t.control(control)
		return err
	})
}

// AttachSelf is Attach by the runner itself.
func (q *Queue) AttachSelf(ctx context.Context, control, providerID string) (attached bool, err error) {
	var r runner
	err = q.read(ctx, func(t *tx) error {
		r, err = t.control(control)
		return err
	})
	if errors.Is(err, ErrRunnerEnded) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return q.Attach(ctx, Provisioner{ID: r.provisioner, Generation: r.generation}, r.id, providerID)
}

// Assignment waits, at most wait and 30 s, for a job for an enrolled runner, and
// returns an activation token, or a zero one. Errors: ErrUnauthorized,
// ErrRunnerEnded.
func (q *Queue) Assignment(ctx context.Context, control string, wait time.Duration) (tokens.Token, error) {
	var r runner
	err := q.read(ctx, func(t *tx) (err error) {
		r, err = t.control(control)
		return err
	})
	if err != nil {
		return tokens.Token{}, err
	}
	sub := q.Subscribe(topicRunner(r.id))
	defer sub.Close()
	deadline := time.NewTimer(min(wait, maxAssignmentWait))
	defer deadline.Stop()
	for last := false; ; {
		secret, err := q.activation(ctx, control)
		if err != nil || !secret.IsZero() || last {
			return secret, err
		}
		select {
		case <-sub.C:
		case <-deadline.C:
			last = true
		case <-ctx.Done():
			return tokens.Token{}, ctx.Err()
		}
	}
}

// activation looks first and writes only when there is something to give.
func (q *Queue) activation(ctx context.Context, control string) (secret tokens.Token, err error) {
	waits := false
	err = q.read(ctx, func(t *tx) error {
		r, err := t.control(control)
		waits = err == nil && r.reservation != "" && r.session == ""
		return err
	})
	if err != nil || !waits {
		return tokens.Token{}, err
	}
	err = q.write(ctx, func(t *tx) error {
		r, err := t.control(control)
		if err != nil {
			return err
		}
		secret, err = t.activate(r.id)
		return err
	})
	return secret, err
}
