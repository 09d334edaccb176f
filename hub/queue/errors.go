package queue

import (
	"errors"
	"fmt"
)

// Errors of the queue.
var (
	// ErrNotFound: there is no such job, token or runner.
	ErrNotFound = errors.New("queue: not found")
	// ErrInvalid: the input breaks a rule; see InvalidError.
	ErrInvalid = errors.New("queue: invalid")
	// ErrStorageFull: the disk is too full for new jobs.
	ErrStorageFull = errors.New("queue: storage full")

	// ErrUnauthorized: the token is unknown, or of the wrong kind.
	ErrUnauthorized = errors.New("queue: unauthorized")
	// ErrTokenExpired: the token was good once.
	ErrTokenExpired = errors.New("queue: token expired")
	// ErrTokenRevoked: somebody revoked it.
	ErrTokenRevoked = errors.New("queue: token revoked")
	// ErrLastAdmin: without this token nobody could manage the hub any more.
	ErrLastAdmin = errors.New("queue: the last admin token")
	// ErrTokenConsumed: a token of one use was used.
	ErrTokenConsumed = errors.New("queue: token consumed")

	// ErrReservationNotFound: there is no such promise to this provisioner.
	ErrReservationNotFound = errors.New("queue: reservation not found")
	// ErrReservationExpired: there was one.
	ErrReservationExpired = errors.New("queue: reservation expired")
	// ErrNotAssignable: not every runner can be assigned to the reservation.
	ErrNotAssignable = errors.New("queue: runner not assignable")
	// ErrRunnerEnded: the runner has ended, as its provisioner reported.
	ErrRunnerEnded = errors.New("queue: runner ended")
	// ErrRunnerConflict: another runner has this provider runner id.
	ErrRunnerConflict = errors.New("queue: provider runner id in use")

	// ErrSessionExhausted: the session may claim no more jobs.
	ErrSessionExhausted = errors.New("queue: session exhausted")
	// ErrLeaseEnded: the lease is over; nothing was stored.
	ErrLeaseEnded = errors.New("queue: lease ended")
	// ErrLeaseJob: the lease is for another job.
	ErrLeaseJob = errors.New("queue: lease of another job")
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

func invalid(field, format string, args ...any) error {
	return &InvalidError{Field: field, Problem: fmt.Sprintf(format, args...)}
}

// ExceedsError: a mint asks for more than the reservation has left.
type ExceedsError struct {
	// Requested is what the mint asks for; Count what the reservation covers in
	// all; Minted what was ever minted for it.
	Requested, Count, Minted int
}

// Error tells the numbers.
func (e *ExceedsError) Error() string {
	return fmt.Sprintf("queue: mint of %d exceeds the reservation: %d of %d are minted", e.Requested, e.Minted, e.Count)
}

// ActiveTokenError: a live registration token exists for these runners.
type ActiveTokenError struct {
	// Runners are provider runner ids.
	Runners []string
}

// Error tells how many.
func (e *ActiveTokenError) Error() string {
	return fmt.Sprintf("queue: %d runners have a live registration token", len(e.Runners))
}
