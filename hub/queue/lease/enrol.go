package lease

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/slipway-ci/slipway/hub/queue/access"
	"github.com/slipway-ci/slipway/hub/queue/ledger"
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
	Token     tokens.Token // a secret
	ExpiresAt time.Time    // by the hub's clock
}

// Exchange gives a control session for a bootstrap token, once. Whatever is wrong
// with the token is ErrUnauthorized.
func (l *Leases) Exchange(ctx context.Context, bootstrap string) (session ControlSession, err error) {
	secret := tokens.New(tokens.ControlSession)
	err = l.ledger.Write(ctx, func(t *ledger.Tx) error {
		token, err := access.Find(t, bootstrap, tokens.Bootstrap)
		if err != nil {
			return err
		}
		if err := access.Consume(t, token); err != nil {
			return err
		}
		if err := access.AddFor(t, token.Runner, secret, controlLifetime); err != nil {
			return err
		}
		session = ControlSession{Runner: token.Runner, Token: secret, ExpiresAt: t.Now.Add(controlLifetime)}
		return t.Launched(token.Runner)
	})
	if errors.Is(err, access.ErrTokenConsumed) || errors.Is(err, access.ErrTokenExpired) || errors.Is(err, access.ErrTokenRevoked) {
		err = access.ErrUnauthorized
	}
	if err != nil {
		return ControlSession{}, fmt.Errorf("queue: exchange bootstrap token: %w", err)
	}
	return session, nil
}

// holder finds the runner of a control session. ErrUnauthorized: there is none;
// ErrRunnerEnded: it has ended.
func holder(t *ledger.Tx, text string) (ledger.Runner, error) {
	token, err := access.Find(t, text, tokens.ControlSession)
	if errors.Is(err, access.ErrTokenExpired) || errors.Is(err, access.ErrTokenConsumed) || errors.Is(err, access.ErrTokenRevoked) {
		err = access.ErrUnauthorized
	}
	if err != nil {
		return ledger.Runner{}, err
	}
	r, found, err := t.Runner(token.Runner)
	switch {
	case err != nil:
		return r, err
	case !found:
		return r, access.ErrUnauthorized
	case r.Ended():
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
func (l *Leases) Enrol(ctx context.Context, control string, e Enrolment) (activation tokens.Token, err error) {
	err = l.ledger.Write(ctx, func(t *ledger.Tx) error {
		activation = tokens.Token{}
		r, err := holder(t, control)
		if err != nil {
			return err
		}
		if _, err := t.Exec(`UPDATE runners SET label_set = ?, provider_kind = ?, enrolled_at = coalesce(enrolled_at, ?), seen_at = ? WHERE id = ?`,
			ledger.JoinLabels(e.Labels), e.Kind, ledger.Millis(t.Now), ledger.Millis(t.Now), r.ID); err != nil {
			return err
		}
		r.Labels = e.Labels
		if r.Reservation == "" && !r.Retired {
			if err := assignEnrolled(t, r); err != nil {
				return err
			}
		}
		activation, err = activate(t, r.ID)
		return err
	})
	if err != nil {
		return tokens.Token{}, fmt.Errorf("queue: enrol runner: %w", err)
	}
	return activation, nil
}

// assignEnrolled gives a runner the job that is meant for it, or any that waits.
func assignEnrolled(t *ledger.Tx, r ledger.Runner) error {
	meant, err := t.MeantFor(r.ID)
	if err != nil {
		return err
	}
	if len(meant) > 0 && coversAll(r.Labels, meant) {
		return t.Promote(r, meant[0].Reservation)
	}
	if len(meant) > 0 {
		return t.RequeueOf(r.ID, "runner has other labels")
	}
	return t.AdoptIdle()
}

// activate makes an activation token for a runner that has a job to come for.
// Earlier ones that were not used end: their answer may have been lost.
func activate(t *ledger.Tx, id string) (tokens.Token, error) {
	r, found, err := t.Runner(id)
	if err != nil || !found || r.Reservation == "" || r.Session != "" || r.Retired || r.Ended() {
		return tokens.Token{}, err
	}
	meant, err := t.MeantFor(id)
	if err != nil || len(meant) == 0 {
		return tokens.Token{}, err
	}
	if err := access.DropUnused(t, id, tokens.Activation); err != nil {
		return tokens.Token{}, err
	}
	secret := tokens.New(tokens.Activation)
	err = access.AddFor(t, id, secret, activationLifetime)
	return secret, err
}

// ControlHeartbeat says that an enrolled runner is alive. Errors: ErrUnauthorized,
// ErrRunnerEnded.
func (l *Leases) ControlHeartbeat(ctx context.Context, control string) error {
	return l.ledger.Read(ctx, func(t *ledger.Tx) error {
		_, err := holder(t, control)
		return err
	})
}

// AttachSelf is Attach by the runner itself.
func (l *Leases) AttachSelf(ctx context.Context, control, providerID string) (attached bool, err error) {
	err = l.ledger.Write(ctx, func(t *ledger.Tx) error {
		r, err := holder(t, control)
		if errors.Is(err, ErrRunnerEnded) {
			return nil
		}
		if err != nil {
			return err
		}
		attached, err = t.Attach(ledger.Provisioner{ID: r.Provisioner, Generation: r.Generation}, r.ID, providerID)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("queue: attach runner: %w", err)
	}
	return attached, nil
}

// Assignment waits, at most wait and 30 s, for a job for an enrolled runner, and
// returns an activation token, or a zero one. Errors: ErrUnauthorized,
// ErrRunnerEnded.
func (l *Leases) Assignment(ctx context.Context, control string, wait time.Duration) (tokens.Token, error) {
	var r ledger.Runner
	err := l.ledger.Read(ctx, func(t *ledger.Tx) (err error) {
		r, err = holder(t, control)
		return err
	})
	if err != nil {
		return tokens.Token{}, err
	}
	sub := l.ledger.Board.Subscribe(ledger.TopicRunner(r.ID))
	defer sub.Close()
	deadline := time.NewTimer(min(wait, maxAssignmentWait))
	defer deadline.Stop()
	for last := false; ; {
		secret, err := l.activation(ctx, control)
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
func (l *Leases) activation(ctx context.Context, control string) (secret tokens.Token, err error) {
	waits := false
	err = l.ledger.Read(ctx, func(t *ledger.Tx) error {
		r, err := holder(t, control)
		waits = err == nil && r.Reservation != "" && r.Session == ""
		return err
	})
	if err != nil || !waits {
		return tokens.Token{}, err
	}
	err = l.ledger.Write(ctx, func(t *ledger.Tx) error {
		r, err := holder(t, control)
		if err != nil {
			return err
		}
		secret, err = activate(t, r.ID)
		return err
	})
	return secret, err
}
