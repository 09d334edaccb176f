package store

import "errors"

// Errors of Open and Write.
var (
	// ErrLocked: another process holds the data folder.
	ErrLocked = errors.New("store: the data folder is in use by another process")
	// ErrClosed: the store was closed before the write began.
	ErrClosed = errors.New("store: closed")
)
