package access

import (
	"fmt"
	"slices"
	"time"

	"github.com/slipway-ci/slipway/hub/queue/ledger"
	"github.com/slipway-ci/slipway/tokens"
)

// The steps of other rooms' transactions.

// AddFor stores the digest of a runner's credential.
func AddFor(t *ledger.Tx, runner string, secret tokens.Token, lifetime time.Duration) error {
	_, err := add(t, secret, TokenSpec{Lifetime: lifetime}, "", runner)
	return err
}

// DropUnused forgets the credentials of a kind that a runner was given and did not
// use: their answers may have been lost.
func DropUnused(t *ledger.Tx, runner string, kind tokens.Kind) error {
	_, err := t.Exec(`DELETE FROM tokens WHERE runner_id = ? AND kind = ? AND consumed_at IS NULL`, runner, kind)
	return err
}

// RevokeOf revokes all credentials of a runner.
func RevokeOf(t *ledger.Tx, runner string) error {
	_, err := t.Exec(`UPDATE tokens SET revoked_at = ? WHERE runner_id = ? AND revoked_at IS NULL`, ledger.Millis(t.Now), runner)
	return err
}

// Sweep deletes at most limit credentials of runners that expired before a time.
func Sweep(t *ledger.Tx, before time.Time, limit int) error {
	_, err := t.Exec(`DELETE FROM tokens WHERE id IN (SELECT id FROM tokens WHERE expires_at < ? AND kind IN ('ert', 'rbt', 'rcs', 'rat') LIMIT ?)`,
		ledger.Millis(before), limit)
	return err
}

// Find is Authenticate within a transaction.
func Find(t *ledger.Tx, text string, kinds ...tokens.Kind) (Token, error) {
	secret, err := tokens.Parse(text)
	if err != nil || !slices.Contains(kinds, secret.Kind()) {
		return Token{}, ErrUnauthorized
	}
	// The digest of 256 random bits is looked up by an index: nothing that time
	// could tell of it helps to guess a token.
	token, found, err := find(t, `t.digest = ?`, secret.Digest().String())
	switch {
	case err != nil:
		return Token{}, fmt.Errorf("queue: look up token: %w", err)
	case !found:
		return Token{}, ErrUnauthorized
	case !token.RevokedAt.IsZero():
		return token, ErrTokenRevoked
	case !token.consumedAt.IsZero():
		return token, ErrTokenConsumed
	case !token.ExpiresAt.IsZero() && !t.Now.Before(token.ExpiresAt):
		return token, ErrTokenExpired
	}
	return token, nil
}

// Consume uses up a token of one use; only one call ever gets nil.
func Consume(t *ledger.Tx, token Token) error {
	n, err := t.Exec(`UPDATE tokens SET consumed_at = ? WHERE id = ? AND consumed_at IS NULL`, ledger.Millis(t.Now), token.ID)
	if err == nil && n == 0 {
		err = ErrTokenConsumed
	}
	return err
}
