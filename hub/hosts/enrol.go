package hosts

import (
	"context"
	"errors"

	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/hub/hosts/form"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/tokens"
)

// Enrol makes the machine of an agent the host that the token invites: agent is
// the agent's id, digest that of the credential which it made. The host's former
// credentials end with it, and its former agent and engine are forgotten.
//
// The token is consumed in the same write, so one caller wins. The same token,
// agent and digest may be sent again while the invitation lives, and change
// nothing. Errors: ErrUnknownEnrolment, ErrExpiredEnrolment, ErrSpentEnrolment
// (ErrOtherAgent among them), ErrCredentialTaken, queue.InvalidError.
func (r *Registry) Enrol(ctx context.Context, token tokens.Token, agent string, digest tokens.Digest) (h Host, err error) {
	if err := form.Agent(agent); err != nil {
		return Host{}, err
	}
	if digest == (tokens.Digest{}) {
		return Host{}, form.Invalid("digest", "is all zero")
	}
	again, before := false, false
	err = r.write(ctx, func(t *tx) error {
		e, err := t.enrolment(token)
		if err != nil {
			return err
		}
		if h, err = t.invited(e); err != nil {
			return err
		}
		before = h.Enrolled
		if again = e.consumed; again {
			return t.repeat(e, agent, digest)
		}
		if e.expired(t.now) {
			return ErrExpiredEnrolment
		}
		if err := t.consume(e, agent, digest); err != nil {
			return err
		}
		r.tell(t, "host-enrolled", h, "host enrolled")
		h, err = t.find(h.ID)
		return err
	})
	if err != nil {
		return Host{}, err
	}
	if !again {
		r.forget(h.ID)
		r.applied(ctx, h.ID)
		if f := r.bound(); f != nil && before {
			f.SendAway(h.ID, fleet.ErrReplaced) // whoever has the former credential
		}
	}
	return h, nil
}

// repeat answers one that consumed the enrolment before, as long as what it got is
// still good.
func (t *tx) repeat(e enrolment, agent string, digest tokens.Digest) error {
	switch {
	case e.expired(t.now):
		return ErrSpentEnrolment
	case e.agent != agent || e.digest != digest.String():
		return ErrOtherAgent
	}
	_, found, err := store.One(t.Tx, store.Value[string],
		`SELECT host_id FROM host_credentials WHERE digest = ? AND host_id = ?`, digest.String(), e.host)
	if err == nil && !found {
		err = ErrSpentEnrolment // rotated or revoked since
	}
	return err
}

// consume uses an enrolment up; only one caller ever gets nil.
func (t *tx) consume(e enrolment, agent string, digest tokens.Digest) error {
	n, err := t.Exec(`UPDATE host_enrolments SET consumed_at = ?, agent = ?, agent_digest = ? WHERE id = ? AND consumed_at IS NULL`,
		millis(t.now), agent, digest.String(), e.id)
	if err != nil {
		return err
	}
	if n == 0 {
		return errors.New("hosts: enrolment consumed within one transaction")
	}
	if err := t.setCredential(e.host, digest); err != nil {
		return err
	}
	_, err = t.Exec(`UPDATE hosts SET agent = ?, engine = '' WHERE id = ?`, agent, e.host)
	return err
}
