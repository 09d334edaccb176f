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
	// Kind is tokens.Provisioner, tokens.ManualRegistration or tokens.Admin.
	Kind tokens.Kind
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
	switch spec.Kind {
	case tokens.Provisioner:
		if spec.Generation == "" {
			spec.Generation = GenerationHead
		}
		if !spec.Generation.valid() {
			return Token{}, tokens.Token{}, invalid("api", "is %.20q: head, ert or pr is allowed", spec.Generation)
		}
	case tokens.ManualRegistration, tokens.Admin:
		if spec.Generation != "" {
			return Token{}, tokens.Token{}, invalid("api", "is for tokens of kind provisioner only")
		}
	default:
		return Token{}, tokens.Token{}, invalid("kind", "is %.20q: provisioner, manual registration or admin is allowed", spec.Kind)
	}
	if len(spec.Name) > MaxNameLength {
		return Token{}, tokens.Token{}, invalid("name", "is %d characters: at most %d are allowed", len(spec.Name), MaxNameLength)
	}
	if spec.Lifetime < 0 {
		return Token{}, tokens.Token{}, invalid("lifetime", "is %s: it can't be negative", spec.Lifetime)
	}
	secret := tokens.New(spec.Kind)
	var token Token
	err := q.write(ctx, func(t *tx) error {
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
		token, _, err = t.token(`t.id = ?`, id)
		return err
	})
	if err != nil {
		return Token{}, tokens.Token{}, fmt.Errorf("queue: create token: %w", err)
	}
	return token, secret, nil
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

const tokenQuery = `SELECT t.id, t.kind, t.prefix, t.name, coalesce(t.provisioner_id, ''), coalesce(p.generation, ''),
	coalesce(t.runner_id, ''), t.created_at, t.expires_at, t.revoked_at, t.consumed_at
	FROM tokens t LEFT JOIN provisioners p ON p.id = t.provisioner_id WHERE `

func scanToken(r store.Row) (Token, error) {
	var (
		t                          Token
		created                    int64
		expires, revoked, consumed *int64
	)
	err := r.Scan(&t.ID, &t.Kind, &t.Prefix, &t.Name, &t.Provisioner, &t.Generation, &t.runner, &created, &expires, &revoked, &consumed)
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
		list, err = store.All(t.Tx, scanToken, tokenQuery+`t.kind IN ('pt', 'mrt', 'adm') ORDER BY t.id`)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("queue: list tokens: %w", err)
	}
	return list, nil
}

// RevokeToken ends a token that CreateToken made, by its id. Revoking it again
// changes nothing. ErrNotFound: there is none.
func (q *Queue) RevokeToken(ctx context.Context, id string) (token Token, err error) {
	err = q.write(ctx, func(t *tx) error {
		if _, err := t.Exec(`UPDATE tokens SET revoked_at = ? WHERE id = ? AND kind IN ('pt', 'mrt', 'adm') AND revoked_at IS NULL`,
			millis(t.now), id); err != nil {
			return err
		}
		var found bool
		token, found, err = t.token(`t.id = ? AND t.kind IN ('pt', 'mrt', 'adm')`, id)
		if err == nil && !found {
			err = ErrNotFound
		}
		return err
	})
	if err != nil {
		return Token{}, fmt.Errorf("queue: revoke token: %w", err)
	}
	return token, nil
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
