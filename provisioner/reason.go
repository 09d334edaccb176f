package provisioner

import "slices"

// Reasons for which runners end: they are logged, reported and counted. A control
// plane and an operator have words of their own.
const (
	// Of runners that we end, or drop before they were launched.
	ReasonUnwanted             = "unwanted"
	ReasonMaxLifetime          = "max-lifetime"
	ReasonRegistrationDeadline = "registration-deadline"
	ReasonLaunchDeadline       = "launch-deadline"
	ReasonStopDeadline         = "stop-deadline"
	ReasonIdle                 = "idle"
	ReasonGivenUp              = "given-up"
	ReasonEnded                = "ended"
	ReasonRetention            = "retention"
	ReasonStopping             = "provisioner-stopping"
	ReasonExpired              = "registration-expired"

	// Of runners that end by themselves; ReasonFailed where nothing more is known.
	ReasonExitCode    = "exit-code"
	ReasonOutOfMemory = "out-of-memory"
	ReasonFailed      = "failed"
	// ReasonDisappeared: it is not there any more, and it was not us.
	ReasonDisappeared = "disappeared"

	// Of launches that started nothing, by the errors of package backend.
	ReasonInvalid     = "invalid"
	ReasonExhausted   = "exhausted"
	ReasonUnavailable = "unavailable"
	ReasonRefused     = "refused"
)

// notLaunched says whether nothing was started, by that reason.
func notLaunched(reason string) bool {
	return slices.Contains([]string{ReasonInvalid, ReasonExhausted, ReasonUnavailable, ReasonRefused}, reason)
}
