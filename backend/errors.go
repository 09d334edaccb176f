package backend

import "errors"

// Errors of Launch. The first four are definite: nothing was or will be
// started. They wrap, or are joined with, the engine's own words.
var (
	// ErrExhausted: there is no room now.
	ErrExhausted = errors.New("backend: no room")
	// ErrInvalid: this spec will never start here (an unknown image, a bad field).
	ErrInvalid = errors.New("backend: invalid spec")
	// ErrUnavailable: the request did not leave; the engine can't be reached.
	ErrUnavailable = errors.New("backend: unavailable")
	// ErrRefused: a policy of the host forbids it.
	ErrRefused = errors.New("backend: refused")
	// ErrExists: a runner with this id was started before. It is success.
	ErrExists = errors.New("backend: exists already")
)

// IsDefinite says whether err of Launch proves that nothing was started and
// that nothing will be. Nil and ErrExists are not failures, hence not definite
// ones.
func IsDefinite(err error) bool {
	for _, definite := range []error{ErrExhausted, ErrInvalid, ErrUnavailable, ErrRefused} {
		if errors.Is(err, definite) {
			return true
		}
	}
	return false
}
