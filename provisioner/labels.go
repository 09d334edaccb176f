package provisioner

// Keys of the labels that the loop puts on every runner (backend.Spec.Labels).
// All it needs to know of a runner after a restart is in them. A backend may
// write them under other names, as long as List gives these back.
const (
	// LabelTemplate holds the template's key.
	LabelTemplate = "template"
	// LabelLabels holds the template's labels, joined with commas.
	LabelLabels = "labels"
	// LabelReservation holds the grant's id; absent on warm runners.
	LabelReservation = "reservation"
	// LabelWorkspace holds the grant's workspace; absent where there is none.
	LabelWorkspace = "workspace"
	// LabelRegistrationDeadline holds the duration, in time.Duration's form.
	LabelRegistrationDeadline = "registration-deadline"
	// LabelMaxLifetime holds the duration, in time.Duration's form.
	LabelMaxLifetime = "max-lifetime"
)
