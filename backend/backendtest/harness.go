package backendtest

import (
	"testing"
	"time"

	"github.com/slipway-ci/slipway/backend"
)

// Opener makes the harness of one subtest. What it, or its Open, starts it ends
// in t.Cleanup; the suite has removed its runners by then.
type Opener func(t *testing.T) Harness

// Harness is one engine under test. The specs that it gives have neither ID nor
// Labels; the suite sets them, and adds to Env.
type Harness interface {
	// Open opens the engine for an owner. The suite opens several owners on one
	// engine, and uses ids of owners that are unique to the subtest.
	Open(t *testing.T, owner string) backend.Backend
	// Runs is a spec whose runner runs until it is ended, and ends promptly then.
	Runs() backend.Spec
	// Exits is a spec whose runner soon ends by itself, with code.
	Exits(code int) backend.Spec
}

// Reopener can open an owner anew, as after a restart of its process. The suite
// does not use the owner's earlier Backend again. A harness whose Backend keeps
// nothing in memory implements it with Open.
type Reopener interface {
	Reopen(t *testing.T, owner string) backend.Backend
}

// Invalider knows a spec that Launch answers with ErrInvalid.
type Invalider interface {
	Invalid() backend.Spec
}

// Exhauster knows an engine with room for n runners and no more.
type Exhauster interface {
	// Room is n, for all owners together: 8 or more, since the suite has up to 7
	// at once where it does not fill the engine.
	Room() int
}

// Starver knows a spec whose runner soon runs out of memory.
type Starver interface {
	OutOfMemory() backend.Spec
}

// Killer can end a runner's process from outside, with SIGKILL, behind the
// backend's back.
type Killer interface {
	Kill(t *testing.T, id string)
}

// Prober can ask the engine itself, past the backend, how many processes of the
// runner id are alive. It counts the runner's first process only.
type Prober interface {
	Alive(t *testing.T, id string) int
}

// Breaker can take the engine away, so that no request reaches it, and give it
// back. Runners survive that. The suite mends what it broke.
type Breaker interface {
	Break(t *testing.T)
	Mend(t *testing.T)
}

// Hanger can make the engine take requests and never answer, until Unhang.
type Hanger interface {
	Hang(t *testing.T)
	Unhang(t *testing.T)
}

// Stranger can put things on the engine that look almost like a runner of
// owner, and are none: of an owner whose name begins like ours, with a label
// missing, with an id that is not in our form, made by hand. The function that
// it returns fails the test when any of them was changed, and takes them away.
type Stranger interface {
	Strangers(t *testing.T, owner string) (check func(t *testing.T))
}

// Printer knows a spec whose runner prints the lines on stdout, and ends.
type Printer interface {
	Prints(lines []string) backend.Spec
}

// Teller knows a spec whose runner prints its whole environment on stderr, a line
// name=value for each variable as env(1) does, and then runs as that of Runs does.
//
// It is read by backend.Logs. Where the backend lacks that ability, the harness
// may have it: a Harness that is a backend.Logger is asked instead.
type Teller interface {
	Tells() backend.Spec
}

// Staller can make the engine hang over one runner, while it answers all that is
// asked about others.
type Staller interface {
	// Stall makes each Launch of the runner id wait until its ctx ends, for the
	// rest of the subtest. reached is closed when one waits, or at once where the
	// harness can't tell.
	Stall(t *testing.T, id string) (reached <-chan struct{})
}

// Lacker knows what its backend can't do for a runner.
type Lacker interface {
	// Lacks names the fields of backend.Spec that the backend can't honour, in Go's
	// spelling.
	Lacks() []string
}

// Patient engines take long: Patience is how long the suite waits for one
// condition or call; default one minute.
type Patient interface {
	Patience() time.Duration
}
