package runner

import "errors"

// Errors of Run.
var (
	// ErrUsage: a setting is missing or wrong; the text names it.
	ErrUsage = errors.New("runner: usage")
	// ErrNotSlipway: the API is not that of a Slipway hub.
	ErrNotSlipway = errors.New("runner: not a Slipway hub")
	// ErrStopped is the cause to end Run's context with when the runner is asked
	// to end: its job counts as cancelled.
	ErrStopped = errors.New("runner-stopped")
)

// Why a job was ended. The texts go into its result as the reason.
var (
	errCancelled  = errors.New("cancelled")
	errTimedOut   = errors.New("timeout")
	errLifetime   = errors.New("runner-lifetime")
	errLeaseEnded = errors.New("lease ended by the hub")
	errLeaseLost  = errors.New("lease not renewed in time")
	errNoJob      = errors.New("no job within the poll duration")
	errNotWanted  = errors.New("session ended by the hub")
)
