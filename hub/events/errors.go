package events

import "errors"

// ErrCursor: a cursor is not one that a list returned.
var ErrCursor = errors.New("events: bad cursor")
