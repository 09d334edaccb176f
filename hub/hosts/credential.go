package hosts

import (
	"context"
	"errors"
	"fmt"

	"github.com/slipway-ci/slipway/hub/fleet"
	"github.com/slipway-ci/slipway/hub/hosts/form"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/tokens"
)

// credential is a row of what agents authenticate with. Its next is 0 in use, 1 made
// by a rotation, 2 revoked.
type credential struct {
	host    string
	next    bool
	revoked bool // kept to be refused, see Revoke
	removed bool // its host was
}

func (t *tx) credential(digest tokens.Digest) (credential, bool, error) {
	return store.One(t.Tx, func(row store.Row) (c credential, err error) {
		return c, row.Scan(&c.host, &c.next, &c.revoked, &c.removed)
	},
		`SELECT c.host_id, c.next = 1, c.next = 2, h.removed_at IS NOT NULL FROM host_credentials c JOIN hosts h ON h.id = c.host_id WHERE c.digest = ?`,
		digest.String())
}

// Authenticate says whose credential has the digest: for fleet.Config. The first
// use of one that a rotation made ends the one before. Errors: fleet.ErrRefused;
// fleet.ErrRemoved, with the id that the host had.
func (r *Registry) Authenticate(ctx context.Context, digest tokens.Digest) (host string, err error) {
	var c credential
	look := func(t *tx) error {
		found := false
		if c, found, err = t.credential(digest); err == nil && (!found || c.revoked && !c.removed) {
			err = fleet.ErrRefused
		}
		return err
	}
	err = r.read(ctx, look)
	if err == nil && c.next && !c.removed {
		err = r.write(ctx, func(t *tx) error {
			if err := look(t); err != nil || !c.next || c.removed {
				return err
			}
			return r.promote(t, c.host, digest)
		})
	}
	switch {
	case errors.Is(err, fleet.ErrRefused):
		return "", err
	case err != nil:
		return "", fmt.Errorf("hosts: look up credential: %w", err)
	case c.removed:
		return c.host, fleet.ErrRemoved
	}
	return c.host, nil
}

// promote makes the next credential the only one.
func (r *Registry) promote(t *tx, host string, digest tokens.Digest) error {
	if _, err := t.Exec(`DELETE FROM host_credentials WHERE host_id = ? AND digest <> ?`, host, digest.String()); err != nil {
		return err
	}
	if _, err := t.Exec(`UPDATE host_credentials SET next = 0 WHERE digest = ?`, digest.String()); err != nil {
		return err
	}
	h, err := t.find(host)
	r.tell(t, "host-token-rotated", h, "host uses its new token: the old one is refused")
	return err
}

// setCredential makes a credential the only one of a host; those that were revoked
// stay so.
func (t *tx) setCredential(host string, digest tokens.Digest) error {
	c, found, err := t.credential(digest)
	switch {
	case err != nil:
		return err
	case found && c.host != host:
		return ErrCredentialTaken
	}
	if _, err := t.Exec(`DELETE FROM host_credentials WHERE host_id = ? AND next <> 2`, host); err != nil {
		return err
	}
	_, err = t.Exec(`INSERT INTO host_credentials (digest, host_id, created_at) VALUES (?, ?, ?)`, digest.String(), host, millis(t.now))
	return err
}

// Rotated makes a credential valid beside the host's own, until it is used once:
// then it is the only one. It replaces an earlier one that was never used. Errors:
// ErrNotFound, ErrNotEnrolled, ErrCredentialTaken.
func (r *Registry) Rotated(ctx context.Context, hostID string, next tokens.Digest) error {
	if next == (tokens.Digest{}) {
		return failed("rotate token of host", hostID, form.Invalid("digest", "is all zero"))
	}
	return failed("rotate token of host", hostID, r.write(ctx, func(t *tx) error {
		h, err := t.find(hostID)
		if err != nil {
			return err
		}
		c, found, err := t.credential(next)
		switch {
		case err != nil:
			return err
		case found && c.host != h.ID:
			return ErrCredentialTaken
		case found:
			return nil // said again
		case !h.Enrolled:
			return ErrNotEnrolled
		}
		if _, err := t.Exec(`DELETE FROM host_credentials WHERE host_id = ? AND next <> 0`, h.ID); err != nil {
			return err
		}
		_, err = t.Exec(`INSERT INTO host_credentials (digest, host_id, next, created_at) VALUES (?, ?, 1, ?)`, next.String(), h.ID, millis(t.now))
		return err
	}))
}

// RotateToken has a host's agent make a new credential and come back with it. The
// old one is good until then. Errors: ErrNotFound, ErrLocal, ErrNotBound, and the fleet's.
func (r *Registry) RotateToken(ctx context.Context, nameOrID string) error {
	h, err := r.Host(ctx, nameOrID)
	if err != nil {
		return err
	}
	f := r.bound()
	switch {
	case h.Local:
		return failed("rotate token of host", h.Name, ErrLocal)
	case f == nil:
		return failed("rotate token of host", h.Name, ErrNotBound)
	}
	next, err := f.RotateToken(ctx, h.ID)
	if err != nil {
		return failed("rotate token of host", h.Name, err)
	}
	if err := r.Rotated(ctx, h.ID, next); err != nil {
		return err
	}
	return failed("reconnect host", h.Name, f.Reconnect(ctx, h.ID))
}

// Revoke ends a host's credentials and invitations: its agent is refused until the
// host is enrolled anew. Its runners go on. Its engine is not its own any more: the
// machine that truly has that one may be another host. Where the host is the local
// one, whose token the next start of the hub is given again, that token stays known
// as revoked. ErrNotFound: there is no such host.
func (r *Registry) Revoke(ctx context.Context, nameOrID string) error {
	var h Host
	err := r.write(ctx, func(t *tx) (err error) {
		if h, err = t.find(nameOrID); err != nil {
			return err
		}
		end := `DELETE FROM host_credentials WHERE host_id = ?`
		if h.Local {
			end = `UPDATE host_credentials SET next = 2 WHERE host_id = ?`
		}
		for _, query := range []string{
			end, `DELETE FROM host_enrolments WHERE host_id = ?`,
			`UPDATE hosts SET engine = '' WHERE id = ?`,
		} {
			if _, err := t.Exec(query, h.ID); err != nil {
				return err
			}
		}
		r.tell(t, "host-revoked", h, "the host's token and invitations were revoked")
		return nil
	})
	if err != nil {
		return failed("revoke host", nameOrID, err)
	}
	r.applied(ctx, h.ID)
	if f := r.bound(); f != nil {
		f.SendAway(h.ID, fleet.ErrRevoked)
	}
	return nil
}
