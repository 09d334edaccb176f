package provisioner

import (
	"time"

	"github.com/slipway-ci/slipway/backend"
)

// Phase is how far the loop has come with a runner.
type Phase string

// The phases, in order. A runner that the loop did not launch begins as Launched.
const (
	// Minting: its registration is asked for.
	Minting Phase = "minting"
	// Minted: the registration is in hand.
	Minted Phase = "minted"
	// Announcing: the control plane is being told of it.
	Announcing Phase = "announcing"
	// Announced: the control plane knows of it.
	Announced Phase = "announced"
	// Launching: the backend was asked.
	Launching Phase = "launching"
	// Uncertain: the backend answered neither yes nor no.
	Uncertain Phase = "uncertain"
	// Launched: it was started, or seen.
	Launched Phase = "launched"
	// GivenUp: it stayed uncertain too long and was removed; should it appear
	// all the same it is removed again.
	GivenUp Phase = "given-up"
	// Dropped: it was never asked of the backend, or refused for good.
	Dropped Phase = "dropped"
)

// beforeLaunch says whether the backend was not asked yet.
func (p Phase) beforeLaunch() bool {
	return p == Minting || p == Minted || p == Announcing || p == Announced
}

// beforeAnnounce says whether the control plane was not told of the runner yet.
func (p Phase) beforeAnnounce() bool { return p == Minting || p == Minted }

// inFlight says whether the runner is on its way and may exist or come to
// exist without being seen.
func (p Phase) inFlight() bool { return p.beforeLaunch() || p == Launching || p == Uncertain }

// Runner is what the loop knows of one runner. Plan reads it and changes nothing.
type Runner struct {
	// ID, Template and Reservation name it and what it was launched for.
	ID, Template, Reservation string
	// Labels are those it was launched with, or is to be.
	Labels map[string]string
	// Phase is how far the loop has come with it, Since when it got there.
	Phase Phase
	Since time.Time
	// Begun is when it was minted by this loop; zero for adopted ones.
	Begun time.Time
	// Born is what its age counts from: the time in its id, or first sight.
	Born time.Time
	// RegistrationDeadline and MaxLifetime are those it was launched with.
	RegistrationDeadline, MaxLifetime time.Duration
	// Expires is when its registration does; zero: unknown.
	Expires time.Time

	// Seen is how the newest list shows it; nil: not at all.
	Seen *backend.Runner
	// StateSince is when Seen.State was first seen.
	StateSince time.Time
	// Ended is when its end was first known; zero while it holds a slot.
	Ended time.Time
	// Removed is when the backend said that it is gone.
	Removed time.Time

	// Fact is what the control plane knows of it, FactAt when it was asked.
	Fact   Fact
	FactAt time.Time
	// Working: by the newest facts it has a job. Fact remembers that it ever had one.
	Working bool
	// Unneeded is why an operator wants it gone as soon as it has no job; empty: nobody does.
	Unneeded string
	// IdleSince is since when it has been known to be registered and without a
	// job; zero while it is not.
	IdleSince time.Time

	// Told is the last event about it, ToldAt when; Untold counts events that
	// were not accepted yet.
	Told   EventState
	ToldAt time.Time
	Untold int

	// Retired: it will never get a job.
	Retired bool
	// Removing is why it is being removed, from the first try on.
	Removing string
	// Busy says that a deed on it is under way: retire or remove.
	Busy bool
	// Retry is when a deed on it may be tried again.
	Retry time.Time

	lived        bool            // whether this loop has seen it alive, or has begun it
	end          *backend.Runner // how its end was seen
	asked        bool            // whether facts were asked for after its end
	judged       bool            // whether its end was weighed as a crash
	proved       bool            // whether the backend was told that it came to something
	tailed       bool            // whether the end of its log was fetched
	concluded    bool            // whether its end was told to Config.Ended
	crash        bool            // whether its end was held against its template or host
	why          string          // the reason that its end was reported with
	host         string          // where it was seen last
	registration *Registration   // nil: there is none, or it is spent
}

// HoldsSlot says whether it counts as live: in flight, or seen alive, or not
// seen yet by a list that began after its launch.
func (r *Runner) HoldsSlot() bool { return r.Ended.IsZero() }

// state is the runner's state as a backend word, for counting.
func (r *Runner) state() backend.State {
	switch {
	case r.Seen != nil:
		return r.Seen.State
	case r.Phase.inFlight() || r.Phase == Launched:
		return backend.Starting
	default:
		return backend.Exited
	}
}

// visible says whether the newest list shows it on a host that can be observed.
func (r *Runner) visible() bool { return r.Seen != nil && r.Seen.State != backend.Unknown }

// idle says whether it counts towards an idle floor.
func (r *Runner) idle() bool {
	switch {
	case !r.HoldsSlot() || r.Fact.Busy == Yes || r.Fact.Job != "" || r.Removing != "" || r.Retired:
		return false
	case r.Fact.Busy == No && r.Fact.Registered == Yes:
		return true
	default:
		return r.Reservation == "" // a warm one on its way
	}
}

// undecided says whether it may still turn out to be a crash.
func (r *Runner) undecided(now time.Time) bool {
	return r.Phase.inFlight() || now.Sub(r.Born) < crashWindow || r.Fact.Registered == No
}

// old says whether it has ended, and may have done so before this loop began, as one
// whose host comes back later than the loop: its end is told, and proves nothing.
func (r *Runner) old() bool { return r.Begun.IsZero() && !r.lived }

// halfMade says whether an earlier life of the loop created it and did not get
// to starting it: its end is no proof against its template.
func (r *Runner) halfMade() bool {
	return r.Begun.IsZero() && r.Seen != nil && r.Seen.State == backend.Starting
}
