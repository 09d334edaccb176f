// Package backend is the compute contract: where runners live.
//
// A Backend creates, lists and removes runners of one owner. It decides
// nothing: which runner should exist is the business of package provisioner.
// Implementations are docker, process and memory beside this package, and
// yours; package backendtest holds the promises as a test suite.
//
// Abilities that some backends lack are the one-method interfaces in
// abilities.go, found through the functions of the same name.
package backend

import (
	"context"
	"time"
)

// Backend is a place where runners live. All methods may be called from many
// goroutines at once, and all of them end soon after ctx does; what they have
// begun by then is either whole, or undone, or found and finished by the next
// call with the same id.
//
// The owner whose runners a Backend handles is part of the implementation's
// configuration. A runner of another owner is never listed, changed or removed,
// and neither is anything that is not a runner in the form that this backend
// writes.
type Backend interface {
	// Launch creates and starts the runner spec.ID.
	//
	// A nil error means that it was started. ErrExists means that a runner with
	// this id was started before (it may have ended since): ids are never
	// reused, so callers take it for success. ErrExhausted, ErrInvalid,
	// ErrUnavailable and ErrRefused are definite: nothing was started and
	// nothing will be. Every other error, the context's included, is uncertain:
	// the runner may exist, now or later.
	//
	// A Launch that finds the runner half made (created and never started)
	// finishes it.
	Launch(ctx context.Context, spec Spec) error

	// List tells every runner of this owner, ended ones included until they are
	// removed. What can't be observed now is told as last known, in state
	// Unknown. An error means that nothing is known; there is never a silent
	// part.
	List(ctx context.Context) (Listing, error)

	// Remove ends the runner if it runs and removes all of it. It is gone when
	// Remove returns nil. Removing what is gone, or never was, is nil.
	Remove(ctx context.Context, id string) error
}

// Listing is what List saw.
type Listing struct {
	// Began is when the look began, by the caller's clock: a Launch that
	// returned before Began is in Runners, unless its runner was removed.
	Began time.Time
	// Runners in the order of their ids.
	Runners []Runner
}

// Runner is one runner as observed.
type Runner struct {
	// ID is the id it was launched with.
	ID string
	// Labels are Spec.Labels, verbatim.
	Labels map[string]string
	// State is what it does now, or Unknown.
	State State
	// Host names where it lives, for backends of many hosts; else empty.
	Host string
	// ExitCode is how the process ended: nil while it has not, and where that
	// can't be known. A process ended by signal n counts as 128+n.
	ExitCode *int
	// OOMKilled says that the runner ran out of memory, where that can be told.
	OOMKilled bool
	// Error is the engine's own text on why the runner failed, if it gave any.
	Error string
	// Created, Started and Finished are by the engine's clock, so they may be
	// compared with one another and with nothing else. Zero: not yet, or unknown.
	Created, Started, Finished time.Time
}

// State is what a runner does.
type State string

// The states of a runner. The values are stored and sent: add at the end only.
const (
	// Starting: created, its process does not run yet.
	Starting State = "starting"
	// Running: its process runs.
	Running State = "running"
	// Stopping: asked to end, its process is still alive.
	Stopping State = "stopping"
	// Exited: its process ended with exit code 0.
	Exited State = "exited"
	// Failed: its process ended otherwise, or could not be started.
	Failed State = "failed"
	// Unknown: it can't be observed now.
	Unknown State = "unknown"
)

// HoldsSlot says whether a runner in state s takes up room: all but the ended
// ones do, and what is unknown does too.
func (s State) HoldsSlot() bool { return s != Exited && s != Failed }

// Ended says whether the runner's process has ended for good.
func (s State) Ended() bool { return s == Exited || s == Failed }
