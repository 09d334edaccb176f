package provisioner

import (
	"context"
	"fmt"
	"time"
)

// ControlPlane says which jobs wait. It is the loop's port to whoever hands out
// work: implementations are in the folders beside this file and in hub/queue;
// package controlplanetest holds the promises as a test suite.
//
// Poll is called by one goroutine at a time, the rest by many at once. Every
// method ends soon after its ctx does. A token that is refused makes any of them
// return ErrUnauthorized.
//
// Abilities that some lack are the one-method interfaces Announcer, Knower,
// Retirer and Closer.
type ControlPlane interface {
	// Identify tells who the credential is. The wiring asks it before the
	// backend is opened, since Identity.ID is the owner of all that is launched.
	Identify(ctx context.Context) (Identity, error)

	// Poll advertises free slots and waits, at most ad.Wait, for demand. Calling
	// Poll again acknowledges the last answer. An answer that never arrived, the
	// caller's ctx ended included, leaves nothing granted for longer than the
	// lifetime of a grant.
	Poll(ctx context.Context, ad Advertisement) (Demand, error)

	// Mint makes one registration for each request, or fewer: what is missing in
	// the answer was refused, for instance since its reservation is gone. On an
	// error none may be used. An empty Reservation asks for a warm runner: a
	// control plane that has none returns errors.ErrUnsupported for a batch of
	// such requests. A batch holds requests of one reservation only.
	Mint(ctx context.Context, requests []MintRequest) ([]Registration, error)

	// Report tells what became of runners. Nil: accepted, all of them. An error
	// that is ErrRejected: these events will never be accepted; the loop drops
	// them. Any other error: the loop sends them again.
	Report(ctx context.Context, events []Event) error
}

// Identity is who we are to a control plane.
type Identity struct {
	// ID is the owner of what is launched: stable through restarts, not secret.
	ID string
	// Scope is workspace or installation, or empty where there is no such thing.
	Scope string
	// Workspace is the workspace's id, or empty.
	Workspace string
}

// Advertisement is what a poll offers.
type Advertisement struct {
	// Wait is how long the poll may take when there is no demand; 0 asks for one
	// look. The loop's first poll does that, to learn that it is answered.
	Wait time.Duration
	// MaxReservations bounds the runners that one answer may ask for.
	MaxReservations int
	// ReservationLifetime is how long a grant should live; 0 leaves it to the
	// control plane.
	ReservationLifetime time.Duration
	// Templates are the slots, in the order of the template file.
	Templates []Slots
}

// Free is the sum of free slots.
func (a Advertisement) Free() int {
	n := 0
	for _, s := range a.Templates {
		n += s.Free
	}
	return n
}

// Slots is the state of one template in an advertisement.
type Slots struct {
	// Template is the key.
	Template string
	// Labels are the template's, canonical.
	Labels []string
	// Free is how many more runners may be asked for.
	Free int
	// Starting and Running count the live ones.
	Starting, Running int
}

// Demand is the answer to a poll.
type Demand struct {
	// Grants are edges: each is given once.
	Grants []Grant
	// Targets are levels, told again and again. Nil means that this control
	// plane tells none now; what was told before stays.
	Targets []Target
	// Facts are what it knows of runners, terminate intents among them. A runner
	// that is left out keeps the facts it had.
	Facts []Fact
	// Stats are for display and metrics.
	Stats []Stat
}

// Empty says that the answer asks for nothing.
func (d Demand) Empty() bool {
	return len(d.Grants) == 0 && len(d.Targets) == 0 && len(d.Facts) == 0
}

// Grant is the promise of Count jobs of one label set.
type Grant struct {
	// Reservation is its id: goes into the mint requests. Not empty.
	Reservation string
	// Labels are what the jobs ask for, canonical.
	Labels []string
	// Count is 1 or more.
	Count int
	// Lifetime counts from the receipt of the answer; after it nothing may be
	// minted. 0 means unknown.
	Lifetime time.Duration
	// Workspace is for installation-wide credentials; else empty.
	Workspace string
}

// Target is how many live runners of a template are wanted, busy ones included.
type Target struct {
	// Template is the key.
	Template string
	// Count is 0 or more; the loop never goes above the template's maximum.
	Count int
	// ReadAt is a local time not later than the moment the level was read; zero
	// means when Poll was called.
	ReadAt time.Time
}

// Fact is what a control plane knows of one runner.
type Fact struct {
	// Runner is the id.
	Runner string
	// Registered: it has introduced itself to the control plane.
	Registered Known
	// Busy: it has, or had, a job. Of a runner that lives for one job both are
	// the same: it is never to be ended for want of work.
	Busy Known
	// Job names the job, where that is known.
	Job string
	// Unwanted asks for the runner's end: a terminate intent. It stays so.
	Unwanted bool
	// Reason says why it is unwanted, in a word such as job-cancelled.
	Reason string
}

// Known is a yes, a no, or neither. What is unknown is unknown: nothing that
// ends a runner is built on it.
type Known int

// The values of Known.
const (
	Unknown Known = iota
	No
	Yes
)

// String is unknown, no or yes.
func (k Known) String() string { return [...]string{"unknown", "no", "yes"}[k] }

// MarshalText is String.
func (k Known) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Is turns a bool that is known into a Known.
func Is(b bool) Known {
	if b {
		return Yes
	}
	return No
}

// Stat describes the queue of one label set.
type Stat struct {
	// Labels of the waiting jobs.
	Labels []string
	// Queued and Reserved count jobs.
	Queued, Reserved int
	// Oldest is how long the oldest has waited, as far as is known.
	Oldest time.Duration
	// Workspace is for installation-wide credentials; else empty.
	Workspace string
}

// MintRequest asks for the registration of one runner.
type MintRequest struct {
	// Runner is the id, made by the loop.
	Runner string
	// Template is the key.
	Template string
	// Reservation is the grant's, or empty for a warm runner.
	Reservation string
	// Labels are the template's.
	Labels []string
}

// Registration is what one runner needs to introduce itself, once.
type Registration struct {
	// Runner is the id it is for.
	Runner string
	// Env is the runner's environment, its single-use credential among it. It is
	// a secret.
	Env map[string]string
	// Command replaces the template's when not empty.
	Command []string
	// Labels are what the control plane wants to find on the runner again, after
	// any restart: its own ids. Those that are the loop's own are left as they are.
	Labels map[string]string
	// Lifetime of the credential, counted from the receipt; 0 means unknown.
	Lifetime time.Duration
}

// String tells a registration without its secrets.
func (r Registration) String() string { return "registration of " + r.Runner }

// GoString is String.
func (r Registration) GoString() string { return r.String() }

// Format makes every verb print String.
func (r Registration) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(r.String())) }

// MarshalText is String: a registration that slips into JSON or a log tells no secret
// either. Hold a *Registration in unexported fields of what is printed.
func (r Registration) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// EventState is what an event says of a runner.
type EventState string

// The states of events, in the order in which a runner goes through them; the
// names are the Shipfox API's. Stored and sent: add at the end only.
const (
	EventStarting EventState = "starting"
	EventRunning  EventState = "running"
	EventStopping EventState = "stopping"
	// EventStopped: ended by itself with exit code 0.
	EventStopped EventState = "stopped"
	// EventFailed: ended otherwise, or never started.
	EventFailed EventState = "failed"
	// EventTerminated: ended by us.
	EventTerminated EventState = "terminated"
)

// Terminal says whether nothing comes after s.
func (s EventState) Terminal() bool {
	return s == EventStopped || s == EventFailed || s == EventTerminated
}

// Event tells the control plane what became of a runner.
type Event struct {
	// Runner is the id.
	Runner string
	// Labels are the runner's (Ref.Labels): they hold the template, the reservation and
	// what the registration put there.
	Labels map[string]string
	// State is what it came to.
	State EventState
	// Reason is a word or a sentence, never a secret; may be empty.
	Reason string
	// At is when we saw it, by our clock; it never goes backwards per runner.
	At time.Time
}

// Ref names a runner to a control plane.
type Ref struct {
	// ID is the runner's.
	ID string
	// Labels are those it was launched with.
	Labels map[string]string
}

// Announcer is the ability to be told of a runner before it is launched.
type Announcer interface {
	// Announce tells that the runner is about to be launched with this
	// registration. ErrRefused: it must not be, and the registration is spent.
	// Any other error: whether it was told is unknown, and the loop drops the
	// runner as well. An implementation that can tell a lost answer from a
	// refusal goes on by returning nil.
	Announce(ctx context.Context, runner Ref) error
}

// Knower is the ability to tell facts when asked.
type Knower interface {
	// Facts tells what is known of runners. The loop always asks about every
	// runner that holds a slot, never a subset: some control planes end those
	// that are left out. Runners of which nothing is known may be left out of
	// the answer.
	Facts(ctx context.Context, runners []Ref) ([]Fact, error)
}

// Retirer is the ability to make sure that runners never get a job.
type Retirer interface {
	// Retire returns the ids of those that will never get a job; busy and
	// unknown ones are left out.
	Retire(ctx context.Context, runners []Ref) (retired []string, err error)
}

// Closer is the ability to give back what a control plane holds for us.
type Closer interface {
	// Close gives back the session. Called once, when no other call is under way.
	Close(ctx context.Context) error
}
