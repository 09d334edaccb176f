package access

import "errors"

// Errors of the registry.
var (
	// ErrUnauthorized: the token is unknown, or of the wrong kind.
	ErrUnauthorized = errors.New("queue: unauthorized")
	// ErrTokenExpired: the token was good once.
	ErrTokenExpired = errors.New("queue: token expired")
	// ErrTokenRevoked: somebody revoked it.
	ErrTokenRevoked = errors.New("queue: token revoked")
	// ErrTokenConsumed: a token of one use was used.
	ErrTokenConsumed = errors.New("queue: token consumed")
	// ErrLastAdmin: without this token nobody could manage the hub any more.
	ErrLastAdmin = errors.New("queue: the last admin token")
)
