package process

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/slipway-ci/slipway/backend"
)

var (
	// errBusy: somebody else looks after the runner.
	errBusy = errors.New("in use")
	// errForeign: not a runner of this owner in our form.
	errForeign = errors.New("not a runner of this owner")
	// errDamaged: the state of a runner is none, which was written over perhaps. It
	// is errForeign, unless the runner's lock says that it was started here.
	errDamaged = fmt.Errorf("%w: its state can't be read", errForeign)
)

// unmade is the error of a launch that came to nothing before a process was
// started: out of some resource, or the folder can't be used.
func unmade(err error) error {
	if exhausted(err) {
		return fmt.Errorf("%w: %w", backend.ErrExhausted, err)
	}
	return fmt.Errorf("%w: %w", backend.ErrUnavailable, err)
}

// exhausted says whether err may pass when others have ended.
func exhausted(err error) bool {
	for _, errno := range []syscall.Errno{syscall.EAGAIN, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE, syscall.ENOSPC, syscall.EDQUOT, syscall.ETXTBSY} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// invalid is the error of a field of Spec that can't be honoured here.
func invalid(field, why string) error {
	return fmt.Errorf("%w: %s: %s", backend.ErrInvalid, field, why)
}
