package dispatch

import (
	"errors"
	"fmt"

	"github.com/slipway-ci/slipway/hub/queue/ledger"
)

// Errors of promises and of the runners that are minted for them.
var (
	// ErrReservationNotFound: there is no such promise to this provisioner.
	ErrReservationNotFound = errors.New("queue: reservation not found")
	// ErrReservationExpired: there was one.
	ErrReservationExpired = errors.New("queue: reservation expired")
	// ErrNotAssignable: not every runner can be assigned to the reservation.
	ErrNotAssignable = ledger.ErrNotAssignable
	// ErrRunnerConflict: another runner has this provider runner id.
	ErrRunnerConflict = ledger.ErrRunnerConflict
)

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
