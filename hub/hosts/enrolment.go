package hosts

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/hub/hosts/form"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/tokens"
)

// Invitation is what makes one machine a host, once. Token and Line are secrets,
// and are told nowhere else.
type Invitation struct {
	// ID is that of the enrolment.
	ID    string
	Token tokens.Token
	// Line is to be run on the machine.
	Line      string
	ExpiresAt time.Time
}

// String tells the invitation's id alone.
func (i Invitation) String() string { return "invitation " + i.ID }

// GoString is String.
func (i Invitation) GoString() string { return "hosts.Invitation{" + i.ID + "}" }

// Format makes every verb print String.
func (i Invitation) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(i.String())) }

// Enrolment is an invitation as it is listed: without the secret.
type Enrolment struct {
	ID string
	// Host is the id of the host, HostName its name.
	Host, HostName string
	// Isolated: the host was asked to have an isolated runtime.
	Isolated             bool
	CreatedAt, ExpiresAt time.Time
	// UsedAt is zero where nobody used it.
	UsedAt time.Time
}

// ReenrolSpec is what inviting a host again may change.
type ReenrolSpec struct {
	// Isolated; nil: as it was.
	Isolated *bool
	// TTL of the invitation; default Config.EnrolmentTTL.
	TTL time.Duration
}

// Reenrol invites an existing host anew: its identity, its runners and what is set
// for it stay, and its credential is good until the invitation is used. An earlier
// invitation that nobody used is over. Errors: ErrNoPublicURL, ErrNotFound,
// ErrLocal, queue.InvalidError.
func (r *Registry) Reenrol(ctx context.Context, nameOrID string, spec ReenrolSpec) (h Host, i Invitation, err error) {
	if err := form.TTL(spec.TTL); err != nil {
		return Host{}, Invitation{}, err
	}
	if r.base == "" {
		return Host{}, Invitation{}, failed("reenrol host", nameOrID, ErrNoPublicURL)
	}
	h, err = r.change(ctx, "reenrol host", nameOrID, func(t *tx, h *Host) error {
		if h.Local {
			return ErrLocal
		}
		if spec.Isolated != nil {
			h.Isolated = *spec.Isolated
		}
		if i, err = r.invite(t, *h, spec.TTL); err != nil {
			return err
		}
		r.tell(t, "host-reenrolled", *h, "host invited anew")
		return nil
	})
	if err != nil {
		return Host{}, Invitation{}, err
	}
	return h, i, nil
}

// invite makes an enrolment, and ends the one before.
func (r *Registry) invite(t *tx, h Host, ttl time.Duration) (Invitation, error) {
	if _, err := t.Exec(`DELETE FROM host_enrolments WHERE host_id = ? AND consumed_at IS NULL`, h.ID); err != nil {
		return Invitation{}, err
	}
	token := tokens.New(tokens.Enrolment)
	i := Invitation{ID: newID(), Token: token, Line: line(r.base, token), ExpiresAt: t.now.Add(cmp.Or(ttl, r.cfg.EnrolmentTTL))}
	_, err := t.Exec(`INSERT INTO host_enrolments (id, host_id, digest, created_at, expires_at) VALUES (?, ?, ?, ?, ?)`,
		i.ID, h.ID, token.Digest().String(), millis(t.now), millis(i.ExpiresAt))
	return i, err
}

// Page says which part of a list. Zero: from its beginning, 100 of it.
type Page struct {
	// Cursor is what the last list returned.
	Cursor string
	// Limit is how many at most; default 100, at most 1000.
	Limit int
}

// Enrolments lists the invitations that live, the oldest first. next is the cursor
// for what follows, empty at the end.
func (r *Registry) Enrolments(ctx context.Context, page Page) (list []Enrolment, next string, err error) {
	limit := limitOf(page.Limit)
	err = r.read(ctx, func(t *tx) error {
		list, err = store.All(t.Tx, func(row store.Row) (e Enrolment, err error) {
			var created, expires int64
			var used *int64
			err = row.Scan(&e.ID, &e.Host, &e.HostName, &e.Isolated, &created, &expires, &used)
			e.CreatedAt, e.ExpiresAt, e.UsedAt = fromMillis(created), fromMillis(expires), fromNullable(used)
			return e, err
		}, `SELECT e.id, e.host_id, h.name, h.isolated, e.created_at, e.expires_at, e.consumed_at
			FROM host_enrolments e JOIN hosts h ON h.id = e.host_id
			WHERE e.id > ? AND e.expires_at > ? ORDER BY e.id LIMIT ?`, page.Cursor, millis(t.now), limit+1)
		return err
	})
	if err != nil {
		return nil, "", fmt.Errorf("hosts: list enrolments: %w", err)
	}
	if len(list) > limit {
		list = list[:limit]
		next = list[limit-1].ID
	}
	return list, next, nil
}

// CancelEnrolment ends an invitation. ErrNotFound: there is none that was not
// used; ErrSpentEnrolment: it was.
func (r *Registry) CancelEnrolment(ctx context.Context, id string) error {
	err := r.write(ctx, func(t *tx) error {
		n, err := t.Exec(`DELETE FROM host_enrolments WHERE id = ? AND consumed_at IS NULL`, id)
		if err != nil || n == 1 {
			return err
		}
		_, spent, err := store.One(t.Tx, store.Value[string], `SELECT id FROM host_enrolments WHERE id = ?`, id)
		switch {
		case err != nil:
			return err
		case spent:
			return ErrSpentEnrolment
		}
		return ErrNotFound
	})
	return failed("cancel enrolment", id, err)
}

// Invited says who an invitation is for, without using it: for the script.
// Errors: ErrUnknownEnrolment, ErrSpentEnrolment, ErrExpiredEnrolment.
func (r *Registry) Invited(ctx context.Context, token tokens.Token) (h Host, err error) {
	err = r.read(ctx, func(t *tx) error {
		e, err := t.enrolment(token)
		switch {
		case err != nil:
			return err
		case e.consumed:
			return ErrSpentEnrolment
		case e.expired(t.now):
			return ErrExpiredEnrolment
		}
		h, err = t.invited(e)
		return err
	})
	if err != nil {
		return Host{}, err
	}
	return h, nil
}

// enrolment is a row as Enrol needs it.
type enrolment struct {
	id, host      string
	expires       int64
	consumed      bool
	agent, digest string // who consumed it
}

func (e enrolment) expired(now time.Time) bool { return e.expires <= millis(now) }

// enrolment finds that of a token. The digest of 256 random bits is looked up by
// an index: nothing that time could tell of it helps to guess a token.
func (t *tx) enrolment(token tokens.Token) (enrolment, error) {
	if token.Kind() != tokens.Enrolment {
		return enrolment{}, ErrUnknownEnrolment
	}
	e, found, err := store.One(t.Tx, func(row store.Row) (e enrolment, err error) {
		return e, row.Scan(&e.id, &e.host, &e.expires, &e.consumed, &e.agent, &e.digest)
	}, `SELECT id, host_id, expires_at, consumed_at IS NOT NULL, agent, agent_digest FROM host_enrolments WHERE digest = ?`, token.Digest().String())
	if err == nil && !found {
		err = ErrUnknownEnrolment
	}
	return e, err
}

// invited is the host of an enrolment; those of a removed one are gone with it.
func (t *tx) invited(e enrolment) (Host, error) {
	h, err := t.find(e.host)
	if errors.Is(err, ErrNotFound) {
		err = ErrUnknownEnrolment
	}
	return h, err
}

// keepSpent is how long enrolments are kept that are over: who comes with one is
// told what became of it.
const keepSpent = 7 * 24 * time.Hour

func (t *tx) sweepEnrolments() error {
	_, err := t.Exec(`DELETE FROM host_enrolments WHERE expires_at < ?`, millis(t.now.Add(-keepSpent)))
	return err
}

// line is what is run on a machine to make it a host.
func line(base string, token tokens.Token) string {
	u := base + "/install/" + token.Reveal() + ".sh"
	if strings.Contains(u, "[") { // of an IPv6 address
		u = "'" + u + "'"
	}
	return "curl -fsSL " + u + " | sudo bash"
}
