package lease

import (
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/slipway-ci/slipway/hub/queue/access"
	"github.com/slipway-ci/slipway/hub/queue/ledger"
)

// leaseTokenLifetime is that of the JWT, not of the lease: every heartbeat
// answers with a new one.
const leaseTokenLifetime = 90 * time.Minute

const (
	audienceSession = "session"
	audienceLease   = "lease"
)

// signer makes and reads the session and lease tokens: HS256 JWTs by a key
// of the vault.
type signer struct{ key []byte }

type claims struct {
	Job string `json:"job,omitempty"`
	jwt.RegisteredClaims
}

func (s signer) session(id string) (string, error) {
	return s.sign(id, "", audienceSession, sessionLifetime)
}

func (s signer) lease(id, job string) (string, error) {
	return s.sign(id, job, audienceLease, leaseTokenLifetime)
}

func (s signer) sign(id, job, audience string, life time.Duration) (string, error) {
	now := time.Now()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims{
		Job: job,
		RegisteredClaims: jwt.RegisteredClaims{
			Subject: id, Audience: jwt.ClaimStrings{audience}, ID: ledger.NewID(),
			IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(life)),
		},
	}).SignedString(s.key)
	if err != nil {
		return "", fmt.Errorf("queue: sign %s token: %w", audience, err)
	}
	return token, nil
}

func (s signer) parseSession(token string) (id string, err error) {
	id, _, err = s.parse(token, audienceSession)
	return id, err
}

func (s signer) parseLease(token string) (id, job string, err error) {
	return s.parse(token, audienceLease)
}

func (s signer) parse(token, audience string) (id, job string, err error) {
	var c claims
	_, err = jwt.ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return s.key, nil },
		jwt.WithValidMethods([]string{"HS256"}), jwt.WithAudience(audience), jwt.WithExpirationRequired())
	if err != nil || c.Subject == "" {
		return "", "", access.ErrUnauthorized // the reason would tell about the token
	}
	return c.Subject, c.Job, nil
}
