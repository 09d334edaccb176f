package queue

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/slipway-ci/slipway/hub/store"
	"github.com/slipway-ci/slipway/tokens"
)

// Generation is one of the wire generations of the Shipfox API, a property of a
// provisioner's token. The values are stored: add at the end only.
type Generation string

// The generations, the newest first.
const (
	GenerationHead Generation = "head"
	GenerationERT  Generation = "ert"
	GenerationPR   Generation = "pr"
)

func (g Generation) valid() bool {
	return g == GenerationHead || g == GenerationERT || g == GenerationPR
}

// TokenSpec asks for a token.
type TokenSpec struct {
	// Kind is tokens.Provisioner, tokens.ManualRegistration, tokens.Admin or tokens.API.
	Kind tokens.Kind
	// Role goes with an API token, which needs one.
	Role Role
	// Name is for people; at most 200 characters.
	Name string
	// Generation goes with a provisioner's token; default GenerationHead.
	Generation Generation
	// Lifetime of the token; 0: until it is revoked.
	Lifetime time.Duration
}

// Token is a token as it is known here: without the secret.
type Token struct {
	ID     string
	Kind   tokens.Kind
	Prefix string
	Name   string
	// Role is what an admin's or API token may do; empty for others.
	Role Role
	// Provisioner is the id and Generation the API of a provisioner's token.
	Provisioner string
	Generation  Generation
	// Zero times: never, or not yet.
	CreatedAt, ExpiresAt, RevokedAt time.Time

	consumedAt time.Time
	runner     string
}

// CreateToken makes a token. The secret is in the answer alone; only its digest
// is stored. A provisioner's token makes a provisioner of its own. Errors:
// InvalidError.
func (q *Queue) CreateToken(ctx context.Context, spec TokenSpec) (Token, tokens.Token, error) {
	spec, err := spec.normal()
	if err != nil {
		return Token{}, tokens.Token{}, err
	}
	secret := tokens.New(spec.Kind)
	var token Token
	err = q.write(ctx, func(t *tx) error {
		provisioner := ""
		if spec.Kind == tokens.Provisioner {
			provisioner = newID()
			if err := t.addProvisioner(provisioner, spec.Name, spec.Generation); err != nil {
				return err
			}
		}
		id, err := t.addToken(secret, spec.Name, spec.Lifetime, provisioner, "")
		if err != nil {
			return err
		}
		if spec.Role != "" {
			if _, err := t.Exec(`UPDATE tokens SET role = ? WHERE id = ?`, spec.Role, id); err != nil {
				return err
			}
		}
		token, _, err = t.token(`t.id = ?`, id)
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
		s.Generation = GenerationHead
	}
	switch s.Kind {
	case tokens.Provisioner, tokens.ManualRegistration, tokens.Admin, tokens.API:
	default:
		return s, invalid("kind", "is %.20q: provisioner, registration, admin or api is allowed", s.Kind)
	}
	switch {
	case s.Kind == tokens.Provisioner && !s.Generation.valid():
		return s, invalid("api", "is %.20q: head, ert or pr is allowed", s.Generation)
	case s.Kind != tokens.Provisioner && s.Generation != "":
		return s, invalid("api", "is for tokens of kind provisioner only")
	case s.Kind == tokens.API && !s.Role.Valid():
		return s, invalid("role", "is %.20q: admin, operator or viewer is needed", s.Role)
	case s.Kind != tokens.API && s.Role != "":
		return s, invalid("role", "is for tokens of kind api only")
	case len(s.Name) > MaxNameLength:
		return s, invalid("name", "is %d characters: at most %d are allowed", len(s.Name), MaxNameLength)
	case s.Lifetime < 0:
		return s, invalid("lifetime", "is %s: it can't be negative", s.Lifetime)
	}
	return s, nil
}

func (t *tx) addProvisioner(id, name string, generation Generation) error {
	_, err := t.Exec(`INSERT INTO provisioners (id, name, generation, created_at) VALUES (?, ?, ?, ?)`,
		id, name, generation, millis(t.now))
	return err
}

// addToken stores a token's digest. lifetime 0: without end.
func (t *tx) addToken(secret tokens.Token, name string, lifetime time.Duration, provisioner, runner string) (id string, err error) {
	var expires *int64
	if lifetime > 0 {
		at := millis(t.now.Add(lifetime))
		expires = &at
	}
	id = newID()
	_, err = t.Exec(`INSERT INTO tokens (id, kind, digest, prefix, name, provisioner_id, runner_id, created_at, expires_at)
		VALUES (?, ?, ?, ?, ?, nullif(?, ''), nullif(?, ''), ?, ?)`,
		id, secret.Kind(), secret.Digest().String(), secret.Prefix(), name, provisioner, runner, millis(t.now), expires)
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
	err := r.Scan(&t.ID, &t.Kind, &t.Prefix, &t.Name, &t.Role, &t.Provisioner, &t.Generation, &t.runner, &created, &expires, &revoked, &consumed)
	t.Role = roleOf(t.Kind, t.Role)
	t.CreatedAt, t.ExpiresAt = fromMillis(created), fromNullable(expires)
	t.RevokedAt, t.consumedAt = fromNullable(revoked), fromNullable(consumed)
	return t, err
}

func (t *tx) token(where string, args ...any) (Token, bool, error) {
	return store.One(t.Tx, scanToken, tokenQuery+where, args...)
}

// Tokens lists the tokens that CreateToken made, the oldest first.
func (q *Queue) Tokens(ctx context.Context) (list []Token, err error) {
	err = q.read(ctx, func(t *tx) error {
		list, err = store.All(t.Tx, scanToken, tokenQuery+`t.kind IN `+ownKinds+` ORDER BY t.id`)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("queue: list tokens: %w", err)
	}
	return list, nil
}

// TopicToken is woken when a token was revoked.
func TopicToken(id string) string { return "token:" + id }

// Good says whether the token may be used at a time: not revoked, not expired.
func (t Token) Good(now time.Time) bool {
	return t.RevokedAt.IsZero() && t.consumedAt.IsZero() && (t.ExpiresAt.IsZero() || now.Before(t.ExpiresAt))
}

// Token returns a token that CreateToken made, by its id. ErrNotFound: there is none.
func (q *Queue) Token(ctx context.Context, id string) (token Token, err error) {
	err = q.read(ctx, func(t *tx) error {
		token, err = t.ownToken(id)
		return err
	})
	if err != nil {
		return Token{}, fmt.Errorf("queue: show token: %w", err)
	}
	return token, nil
}

// RevokeToken ends a token that CreateToken made, by its id. Revoking it again
// changes nothing. ErrNotFound: there is none.
func (q *Queue) RevokeToken(ctx context.Context, id string) (Token, error) {
	return q.revoke(ctx, id, false)
}

// RevokeTokenKeepingAdmin is RevokeToken, but for the last good token with the
// role of an admin, which it keeps: ErrLastAdmin.
func (q *Queue) RevokeTokenKeepingAdmin(ctx context.Context, id string) (Token, error) {
	return q.revoke(ctx, id, true)
}

func (q *Queue) revoke(ctx context.Context, id string, keepAdmin bool) (token Token, err error) {
	err = q.write(ctx, func(t *tx) error {
		if token, err = t.ownToken(id); err != nil || !token.RevokedAt.IsZero() {
			return err
		}
		if keepAdmin && token.Role == RoleAdmin && token.Good(t.now) {
			other, err := t.otherAdmin(id)
			if err != nil {
				return err
			}
			if !other {
				return ErrLastAdmin
			}
		}
		if _, err := t.Exec(`UPDATE tokens SET revoked_at = ? WHERE id = ?`, millis(t.now), id); err != nil {
			return err
		}
		t.wake(TopicToken(id))
		token, err = t.ownToken(id)
		return err
	})
	if err != nil {
		return Token{}, fmt.Errorf("queue: revoke token: %w", err)
	}
	return token, nil
}

func (t *tx) ownToken(id string) (Token, error) {
	token, found, err := t.token(`t.id = ? AND t.kind IN `+ownKinds, id)
	if err == nil && !found {
		err = ErrNotFound
	}
	return token, err
}

// otherAdmin says whether a good token other than this one has an admin's role.
func (t *tx) otherAdmin(id string) (bool, error) {
	_, found, err := t.token(`t.id <> ? AND (t.kind = 'adm' OR t.kind = 'api' AND t.role = 'admin')
		AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > ?) LIMIT 1`, id, millis(t.now))
	return found, err
}

// Authenticate finds the token of one of kinds whose text is given. Errors:
// ErrUnauthorized, and for a token that was good once ErrTokenRevoked,
// ErrTokenExpired or ErrTokenConsumed.
func (q *Queue) Authenticate(ctx context.Context, text string, kinds ...tokens.Kind) (token Token, err error) {
	err = q.read(ctx, func(t *tx) error {
		token, err = t.authenticate(text, kinds...)
		return err
	})
	return token, err
}

func (t *tx) authenticate(text string, kinds ...tokens.Kind) (Token, error) {
	secret, err := tokens.Parse(text)
	if err != nil || !slices.Contains(kinds, secret.Kind()) {
		return Token{}, ErrUnauthorized
	}
	// The digest of 256 random bits is looked up by an index: nothing that time
	// could tell of it helps to guess a token.
	token, found, err := t.token(`t.digest = ?`, secret.Digest().String())
	switch {
	case err != nil:
		return Token{}, fmt.Errorf("queue: look up token: %w", err)
	case !found:
		return Token{}, ErrUnauthorized
	case !token.RevokedAt.IsZero():
		return token, ErrTokenRevoked
	case !token.consumedAt.IsZero():
		return token, ErrTokenConsumed
	case !token.ExpiresAt.IsZero() && !t.now.Before(token.ExpiresAt):
		return token, ErrTokenExpired
	}
	return token, nil
}

// consume uses up a token of one use; only one call ever gets nil.
func (t *tx) consume(token Token) error {
	n, err := t.Exec(`UPDATE tokens SET consumed_at = ? WHERE id = ? AND consumed_at IS NULL`, millis(t.now), token.ID)
	if err == nil && n == 0 {
		err = ErrTokenConsumed
	}
	return err
}
