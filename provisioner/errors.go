package provisioner

import "errors"

// Errors of control planes.
var (
	// ErrUnauthorized: the credential is refused. It may be accepted again later.
	ErrUnauthorized = errors.New("provisioner: credential refused by the control plane")
	// ErrRejected: what was sent will never be accepted.
	ErrRejected = errors.New("provisioner: rejected by the control plane")
	// ErrRefused: the control plane does not want this runner.
	ErrRefused = errors.New("provisioner: runner refused by the control plane")
)
