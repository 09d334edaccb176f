package identity

import "errors"

var (
	// ErrLocked: another agent runs with this data folder.
	ErrLocked = errors.New("identity: the data folder is in use by another agent")
	// ErrOpen: others may read or write what must be the agent's alone.
	ErrOpen = errors.New("identity: not the agent's alone")
	// ErrDamaged: a file is not in the form that this package writes.
	ErrDamaged = errors.New("identity: damaged")
	// ErrNotEnrolled: the folder holds no credential.
	ErrNotEnrolled = errors.New("identity: not enrolled")
)
