package controlplanetest

import (
	"testing"
	"time"

	"github.com/slipway-ci/slipway/provisioner"
)

// Opener makes the harness of one subtest, with an empty queue. What it starts
// it ends in t.Cleanup.
type Opener func(t *testing.T) Harness

// Harness is one control plane under test, and the world behind it.
type Harness interface {
	// Open opens the control plane with a good credential, the same each time.
	// The suite opens one at a time, and calls Close of one that has it before it
	// opens the next.
	Open(t *testing.T) provisioner.ControlPlane
	// Enqueue adds n jobs that ask for labels.
	Enqueue(t *testing.T, labels []string, n int)
	// Traits says of what kind the control plane is.
	Traits() Traits
}

// Traits says what to expect of a control plane.
type Traits struct {
	// Targets: it tells targets and gives no grants.
	Targets bool
	// OneStep: a runner introduces itself by taking its job, so that none is ever
	// known without one.
	OneStep bool
	// OneTry: a runner is its job, and one that fails takes the job along: it is never
	// granted again.
	OneTry bool
	// LostGrant is how long it takes at most until jobs whose grant was lost (its
	// answer never arrived, its runner failed, it was over before it was used) are
	// granted again; 0: at once.
	LostGrant time.Duration
	// Patience is how long the suite waits for one condition or call; default
	// half a minute.
	Patience time.Duration
}

// Templates are what the suite advertises, all slots free: small has the labels
// linux and x64, large has arm64 and linux.
func Templates() []provisioner.Slots {
	return []provisioner.Slots{
		{Template: "small", Labels: []string{"linux", "x64"}, Free: 10},
		{Template: "large", Labels: []string{"arm64", "linux"}, Free: 10},
	}
}

// Impostor can open the control plane with a credential that is refused.
type Impostor interface {
	OpenRefused(t *testing.T) provisioner.ControlPlane
}

// Starter can start what a registration starts: a runner that introduces
// itself.
type Starter interface {
	Start(t *testing.T, registration provisioner.Registration) Runner
}

// Runner is a runner that has introduced itself.
type Runner interface {
	// Take asks for a job, once, and says whether it got one.
	Take(t *testing.T) bool
}

// Canceller can make the control plane want a runner's end, for instance by
// cancelling the job that it runs.
type Canceller interface {
	Cancel(t *testing.T, runner string)
}

// Recorder can tell the last state that the control plane has noted of a runner.
type Recorder interface {
	State(t *testing.T, runner string) provisioner.EventState
}

// Ager can make all that the control plane has granted older by d, as if so much
// time had gone by. Without it the suite asks for grants of a second and waits for
// their end; where they live for more than a few all the same, the promises about
// that end are skipped.
type Ager interface {
	Age(t *testing.T, d time.Duration)
}

// Hanger can make the control plane's far end take requests and never answer,
// until Unhang.
type Hanger interface {
	Hang(t *testing.T)
	Unhang(t *testing.T)
}
