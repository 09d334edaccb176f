package update

import "errors"

var (
	// ErrForbidden: this host takes no updates.
	ErrForbidden = errors.New("update: forbidden on this host")
	// ErrRefused: what the hub has may not be run: unsigned, no step forward, not
	// for this platform, or not what its manifest says.
	ErrRefused = errors.New("update: refused")
	// ErrFetch: the hub did not give it.
	ErrFetch = errors.New("update: not fetched")
	// ErrPending: another update is under way.
	ErrPending = errors.New("update: another one is under way")
)
