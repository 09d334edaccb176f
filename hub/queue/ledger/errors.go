package ledger

import (
	"errors"
	"fmt"
)

// Errors that more than one room of the queue has.
var (
	// ErrNotFound: there is no such job, token or runner.
	ErrNotFound = errors.New("queue: not found")
	// ErrInvalid: the input breaks a rule; see InvalidError.
	ErrInvalid = errors.New("queue: invalid")
	// ErrNotAssignable: not every runner can be assigned to the reservation.
	ErrNotAssignable = errors.New("queue: runner not assignable")
	// ErrRunnerConflict: another runner has this provider runner id.
	ErrRunnerConflict = errors.New("queue: provider runner id in use")
	// ErrLeaseEnded: the lease is over; nothing was stored.
	ErrLeaseEnded = errors.New("queue: lease ended")
)

// InvalidError says which field of an input breaks which rule. It is ErrInvalid.
type InvalidError struct {
	// Field is the input's name for it.
	Field string
	// Problem reads on from the field: "is 300 characters: at most 200 are allowed".
	Problem string
}

// Error names the field and the rule.
func (e *InvalidError) Error() string { return e.Field + " " + e.Problem }

// Unwrap is ErrInvalid.
func (e *InvalidError) Unwrap() error { return ErrInvalid }

// Invalid makes an InvalidError.
func Invalid(field, format string, args ...any) error {
	return &InvalidError{Field: field, Problem: fmt.Sprintf(format, args...)}
}
