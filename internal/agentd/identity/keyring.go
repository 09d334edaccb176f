package identity

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/slipway-ci/slipway/tokens"
)

// Keyring chooses the credential for each connection: the newest first, then the
// one before. It reads the folder each time, since an enrolment may have changed it.
type Keyring struct {
	folder *Folder
	log    hclog.Logger

	mu      sync.Mutex
	refused tokens.Digest // of the next credential, while the hub does not know it
	outAt   time.Time     // when the one in use was refused too; zero: it was not
	last    tokens.Token  // what the folder said when it could be read
}

// outFor is how long both credentials count as refused: shorter than the pause that
// an agent makes then, so that each such pause is followed by one try of each.
const outFor = 10 * time.Second

// Keyring makes one for the folder. logger may be nil.
func (f *Folder) Keyring(logger hclog.Logger) *Keyring {
	if logger == nil {
		logger = hclog.NewNullLogger()
	}
	return &Keyring{folder: f, log: logger}
}

// Token is the credential to try now; zero: there is none.
func (k *Keyring) Token() tokens.Token {
	k.mu.Lock()
	defer k.mu.Unlock()
	next, err := k.folder.Next()
	if err != nil {
		k.log.Warn("the next credential can't be read", "err", err)
	}
	anew := !k.outAt.IsZero() && time.Since(k.outAt) > outFor
	if !next.IsZero() && (next.Digest() != k.refused || anew) {
		return next
	}
	token, err := k.folder.Token()
	if err != nil {
		k.log.Warn("the credential can't be read", "err", err)
		return k.last
	}
	k.last = token
	return token
}

// Accepted is told that the hub took a credential. The next one becomes the one in
// use; the one in use ends a rotation that the hub has not heard of, for now.
func (k *Keyring) Accepted(token tokens.Token) {
	k.mu.Lock()
	k.outAt = time.Time{}
	k.mu.Unlock()
	if err := k.folder.Promote(token); err != nil {
		k.log.Warn("the new credential can't be kept as the one in use: it is tried first again", "err", err)
	}
}

// Refused is told that the hub refused a credential. While the next one is refused
// the one in use is tried; when both are, each of them once after a pause.
func (k *Keyring) Refused(token tokens.Token) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if next, err := k.folder.Next(); err == nil && next.Equal(token) {
		k.refused, k.outAt = token.Digest(), time.Time{}
		return
	}
	k.outAt = time.Now()
}

// Rotate makes the next credential and returns its digest, for the hub.
func (k *Keyring) Rotate(context.Context) (tokens.Digest, error) {
	digest, err := k.folder.Rotate()
	if err != nil {
		return tokens.Digest{}, fmt.Errorf("rotate: %w", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.refused = tokens.Digest{}
	return digest, nil
}
