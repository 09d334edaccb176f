package ledger

import "time"

// State is where a job is. The values are stored and sent: add at the end only.
type State string

// The states of a job. Those from StateSucceeded on are final.
const (
	// StateQueued: it waits and is promised to nobody.
	StateQueued State = "queued"
	// StateReserved: a provisioner was promised a runner's worth of it.
	StateReserved State = "reserved"
	// StateLaunched: the runner meant for it was started.
	StateLaunched State = "launched"
	// StateRunning: a runner holds a lease on it.
	StateRunning State = "running"

	StateSucceeded State = "succeeded"
	StateFailed    State = "failed"
	StateCancelled State = "cancelled"
	StateTimedOut  State = "timed-out"
	// StateRunnerLost: the lease ran out, and no retry was left.
	StateRunnerLost State = "runner-lost"
)

// Final says whether nothing comes after s.
func (s State) Final() bool {
	switch s {
	case StateSucceeded, StateFailed, StateCancelled, StateTimedOut, StateRunnerLost:
		return true
	}
	return false
}

// Job is one job as it is now. Zero times: not yet.
type Job struct {
	ID   string // a UUID
	Name string // for people
	// Labels are what its runner must have, canonical.
	Labels []string
	// Run is a script for sh -e; or Command an argv. Lists leave out both, and EnvNames.
	Run     string
	Command []string // see Run
	// EnvNames are the names in JobSpec.Env, sorted; the values are not told.
	EnvNames []string
	// Timeout of one attempt.
	Timeout time.Duration
	// Retries is how often it may run again after its runner was lost.
	Retries int

	// State is where it is now.
	State State
	// Reason is a word or a sentence on why it is in this state, or empty.
	Reason string
	// Attempt counts claims: 0 before the first.
	Attempt int
	// ExitCode of the last attempt; nil where the process never ran or is unknown.
	ExitCode *int
	// LogBytes is how long the runner says the log is.
	LogBytes int64
	// Runner is the id of the runner that it is meant for or ran on.
	Runner string
	// RunnerName is what its provisioner calls that runner: of a fleet's it is the
	// id. Empty until it is known.
	RunnerName string

	// StartedAt is of the last attempt.
	CreatedAt, StartedAt, FinishedAt, CancelRequestedAt time.Time

	// Seq is its place among all jobs.
	Seq int64
	// QueuedAt is since when it waits.
	QueuedAt time.Time
	// Reservation is the promise that covers it, Lease the lease that its runner
	// holds or held last; empty: none.
	Reservation, Lease string
}

// JobEvent is one step of a job's history.
type JobEvent struct {
	// Seq grows; events of one job are in its order.
	Seq   int64
	JobID string    // whose history it is
	At    time.Time // by the hub's clock
	// State is what the job came to, in the attempt with this number; 0: before the
	// first.
	State   State
	Attempt int // see State
	// Runner is who had to do with it, as its provisioner names it where that is
	// known; may be empty.
	Runner string
	// Reason is a word or a sentence; may be empty.
	Reason string
}
