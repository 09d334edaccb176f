package lease

import (
	"context"
	"fmt"
	"time"

	"github.com/slipway-ci/slipway/hub/queue/access"
	"github.com/slipway-ci/slipway/hub/queue/ledger"
	"github.com/slipway-ci/slipway/tokens"
)

// sessionLifetime is that of a runner's session token.
const sessionLifetime = time.Hour

// Mode says how a session came to be.
type Mode string

// The modes. Stored and sent: add at the end only.
const (
	// ModeManual: by a registration token of many uses; claims jobs without end.
	ModeManual Mode = "manual"
	// ModeEphemeral: by a registration token of one use; claims one job.
	ModeEphemeral Mode = "ephemeral"
	// ModeActivation: by an activation token; claims one job.
	ModeActivation Mode = "activation"
)

// Session is a registered runner.
type Session struct {
	ID   string // a UUID
	Mode Mode   // how it came to be
	// MaxClaims is how many jobs it may claim; nil: any number.
	MaxClaims *int
	// Token is the session's JWT: a secret.
	Token string

	runner string
	labels []string
	claims int
}

// Register makes a session from a registration or activation token. Labels are
// canonical. Errors: ErrUnauthorized, ErrTokenExpired, ErrTokenRevoked,
// ErrTokenConsumed.
func (l *Leases) Register(ctx context.Context, text string, labels []string) (session Session, err error) {
	err = l.ledger.Write(ctx, func(t *ledger.Tx) error {
		token, err := access.Find(t, text, tokens.ManualRegistration, tokens.EphemeralRegistration, tokens.Activation)
		if err != nil {
			return err
		}
		session, err = register(t, token, labels)
		return err
	})
	if err != nil {
		return Session{}, fmt.Errorf("queue: register runner: %w", err)
	}
	session.Token, err = l.signer.session(session.ID)
	return session, err
}

func register(t *ledger.Tx, token access.Token, labels []string) (Session, error) {
	s := Session{ID: ledger.NewID(), Mode: ModeManual, runner: token.Runner, labels: labels}
	if token.Kind != tokens.ManualRegistration {
		if err := access.Consume(t, token); err != nil {
			return s, err
		}
		one := 1
		s.MaxClaims, s.Mode = &one, ModeActivation
		if token.Kind == tokens.EphemeralRegistration {
			s.Mode = ModeEphemeral
		}
	}
	_, err := t.Exec(`INSERT INTO sessions (id, mode, runner_id, label_set, max_claims, created_at, expires_at) VALUES (?, ?, nullif(?, ''), ?, ?, ?, ?)`,
		s.ID, s.Mode, s.runner, ledger.JoinLabels(labels), s.MaxClaims, ledger.Millis(t.Now), ledger.Millis(t.Now.Add(sessionLifetime)))
	if err != nil || s.runner == "" {
		return s, err
	}
	if _, err := t.Exec(`UPDATE runners SET session_id = ?, seen_at = ? WHERE id = ?`, s.ID, ledger.Millis(t.Now), s.runner); err != nil {
		return s, err
	}
	return s, t.Hold(s.runner)
}
