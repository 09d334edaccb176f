package access

import (
	"context"
	"fmt"
	"time"

	"github.com/slipway-ci/slipway/hub/queue/ledger"
	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/tokens"
)

// maxNameLength of a token, in bytes.
const maxNameLength = 200

// TokenSpec asks for a token.
type TokenSpec struct {
	// Kind is tokens.Provisioner, tokens.ManualRegistration, tokens.Admin or tokens.API.
	Kind tokens.Kind
	// Role goes with an API token, which needs one.
	Role Role
	// Name is for people; at most 200 characters.
	Name string
	// Generation goes with a provisioner's token; default head.
	Generation ledger.Generation
	// Lifetime of the token; 0: until it is revoked.
	Lifetime time.Duration
}

// Token is a token as it is known here: without the secret.
type Token struct {
	// ID names it to those who list and revoke tokens.
	ID   string
	Kind tokens.Kind // what it is for
	// Prefix is how the secret begins, for people who look for it.
	Prefix string
	// Name was given to it; may be empty.
	Name string
	// Role is what an admin's or API token may do; empty for others.
	Role Role
	// Provisioner is the id and Generation the API of a provisioner's token.
	Provisioner string
	Generation  ledger.Generation // see Provisioner
	// Zero times: never, or not yet.
	CreatedAt, ExpiresAt, RevokedAt time.Time

	// Runner is the queue's id of the runner that it was made for; empty: none.
	Runner string

	consumedAt time.Time
}

// CreateToken makes a token. The secret is in the answer alone; only its digest
// is stored. A provisioner's token makes a provisioner of its own. Errors:
// InvalidError.
func (r *Registry) CreateToken(ctx context.Context, spec TokenSpec) (Token, tokens.Token, error) {
	spec, err := spec.normal()
	if err != nil {
		return Token{}, tokens.Token{}, err
	}
	secret := tokens.New(spec.Kind)
	var token Token
	err = r.ledger.Write(ctx, func(t *ledger.Tx) error {
		provisioner := ""
		if spec.Kind == tokens.Provisioner {
			provisioner = ledger.NewID()
			if err := t.AddProvisioner(provisioner, spec.Name, spec.Generation); err != nil {
				return err
			}
		}
		id, err := add(t, secret, spec, provisioner, "")
		if err != nil {
			return err
		}
		token, _, err = find(t, `t.id = ?`, id)
		return err
	})
	if err != nil {
		return Token{}, tokens.Token{}, fmt.Errorf("queue: create token: %w", err)
	}
	return token, secret, nil
}

// normal fills in the defaults and checks the rest.
func (s TokenSpec) normal() (TokenSpec, error) {
	if s.Kind == tokens.Provisioner && s.Generation == "" {
		s.Generation = ledger.GenerationHead
	}
	switch s.Kind {
	case tokens.Provisioner, tokens.ManualRegistration, tokens.Admin, tokens.API:
	default:
		return s, ledger.Invalid("kind", "is %.20q: provisioner, registration, admin or api is allowed", s.Kind)
	}
	switch {
	case s.Kind == tokens.Provisioner && !s.Generation.Valid():
		return s, ledger.Invalid("api", "is %.20q: head, ert or pr is allowed", s.Generation)
	case s.Kind != tokens.Provisioner && s.Generation != "":
		return s, ledger.Invalid("api", "is for tokens of kind provisioner only")
	case s.Kind == tokens.API && !s.Role.Valid():
		return s, ledger.Invalid("role", "is %.20q: admin, operator or viewer is needed", s.Role)
	case s.Kind != tokens.API && s.Role != "":
		return s, ledger.Invalid("role", "is for tokens of kind api only")
	case len(s.Name) > maxNameLength:
		return s, ledger.Invalid("name", "is %d characters: at most %d are allowed", len(s.Name), maxNameLength)
	case s.Lifetime < 0:
		return s, ledger.Invalid("lifetime", "is %s: it can't be negative", s.Lifetime)
	}
	return s, nil
}

// add stores a token's digest, with what is in its spec, for a provisioner, a runner,
// or nobody in particular.
func add(t *ledger.Tx, secret tokens.Token, spec TokenSpec, provisioner, runner string) (id string, err error) {
	var expires *int64
	if spec.Lifetime > 0 {
		at := ledger.Millis(t.Now.Add(spec.Lifetime))
		expires = &at
	}
	id = ledger.NewID()
	_, err = t.Exec(`INSERT INTO tokens (id, kind, digest, prefix, name, role, provisioner_id, runner_id, created_at, expires_at)
		VALUES (?, ?, ?, ?, ?, ?, nullif(?, ''), nullif(?, ''), ?, ?)`,
		id, secret.Kind(), secret.Digest().String(), secret.Prefix(), spec.Name, spec.Role, provisioner, runner, ledger.Millis(t.Now), expires)
	return id, err
}

// ownKinds are those that CreateToken makes.
const ownKinds = `('pt', 'mrt', 'adm', 'api')`

const tokenQuery = `SELECT t.id, t.kind, t.prefix, t.name, t.role, coalesce(t.provisioner_id, ''), coalesce(p.generation, ''),
	coalesce(t.runner_id, ''), t.created_at, t.expires_at, t.revoked_at, t.consumed_at
	FROM tokens t LEFT JOIN provisioners p ON p.id = t.provisioner_id WHERE `

func scanToken(r store.Row) (Token, error) {
	var (
		t                          Token
		created                    int64
		expires, revoked, consumed *int64
	)
	err := r.Scan(&t.ID, &t.Kind, &t.Prefix, &t.Name, &t.Role, &t.Provisioner, &t.Generation, &t.Runner, &created, &expires, &revoked, &consumed)
	t.Role = roleOf(t.Kind, t.Role)
	t.CreatedAt, t.ExpiresAt = ledger.FromMillis(created), ledger.FromNullable(expires)
	t.RevokedAt, t.consumedAt = ledger.FromNullable(revoked), ledger.FromNullable(consumed)
	return t, err
}

func find(t *ledger.Tx, where string, args ...any) (Token, bool, error) {
	return store.One(t.Tx, scanToken, tokenQuery+where, args...)
}

// Tokens lists the tokens that CreateToken made, the oldest first.
func (r *Registry) Tokens(ctx context.Context) (list []Token, err error) {
	err = r.ledger.Read(ctx, func(t *ledger.Tx) error {
		list, err = store.All(t.Tx, scanToken, tokenQuery+`t.kind IN `+ownKinds+` ORDER BY t.id`)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("queue: list tokens: %w", err)
	}
	return list, nil
}

// Good says whether the token may be used at a time: not revoked, not expired.
func (t Token) Good(now time.Time) bool {
	return t.RevokedAt.IsZero() && t.consumedAt.IsZero() && (t.ExpiresAt.IsZero() || now.Before(t.ExpiresAt))
}

// Token returns a token that CreateToken made, by its id. ErrNotFound: there is none.
func (r *Registry) Token(ctx context.Context, id string) (token Token, err error) {
	err = r.ledger.Read(ctx, func(t *ledger.Tx) error {
		token, err = own(t, id)
		return err
	})
	if err != nil {
		return Token{}, fmt.Errorf("queue: show token: %w", err)
	}
	return token, nil
}

// RevokeToken ends a token that CreateToken made, by its id. Revoking it again
// changes nothing. ErrNotFound: there is none.
func (r *Registry) RevokeToken(ctx context.Context, id string) (Token, error) {
	return r.revoke(ctx, id, false)
}

// RevokeTokenKeepingAdmin is RevokeToken, but for the last good token with the
// role of an admin, which it keeps: ErrLastAdmin.
func (r *Registry) RevokeTokenKeepingAdmin(ctx context.Context, id string) (Token, error) {
	return r.revoke(ctx, id, true)
}

func (r *Registry) revoke(ctx context.Context, id string, keepAdmin bool) (token Token, err error) {
	err = r.ledger.Write(ctx, func(t *ledger.Tx) error {
		if token, err = own(t, id); err != nil || !token.RevokedAt.IsZero() {
			return err
		}
		if keepAdmin && token.Role == RoleAdmin && token.Good(t.Now) {
			other, err := otherAdmin(t, id)
			if err != nil {
				return err
			}
			if !other {
				return ErrLastAdmin
			}
		}
		if _, err := t.Exec(`UPDATE tokens SET revoked_at = ? WHERE id = ?`, ledger.Millis(t.Now), id); err != nil {
			return err
		}
		t.Wake(ledger.TopicToken(id))
		token, err = own(t, id)
		return err
	})
	if err != nil {
		return Token{}, fmt.Errorf("queue: revoke token: %w", err)
	}
	return token, nil
}

func own(t *ledger.Tx, id string) (Token, error) {
	token, found, err := find(t, `t.id = ? AND t.kind IN `+ownKinds, id)
	if err == nil && !found {
		err = ledger.ErrNotFound
	}
	return token, err
}

// otherAdmin says whether a good token other than this one has an admin's role.
func otherAdmin(t *ledger.Tx, id string) (bool, error) {
	_, found, err := find(t, `t.id <> ? AND (t.kind = 'adm' OR t.kind = 'api' AND t.role = 'admin')
		AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > ?) LIMIT 1`, id, ledger.Millis(t.Now))
	return found, err
}

// Authenticate finds the token of one of kinds whose text is given. Errors:
// ErrUnauthorized, and for a token that was good once ErrTokenRevoked,
// ErrTokenExpired or ErrTokenConsumed.
func (r *Registry) Authenticate(ctx context.Context, text string, kinds ...tokens.Kind) (token Token, err error) {
	err = r.ledger.Read(ctx, func(t *ledger.Tx) error {
		token, err = Find(t, text, kinds...)
		return err
	})
	return token, err
}
