package queue

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

// JobSpec is what a job is to be.
type JobSpec struct {
	// Name is for people; default: the beginning of the script or command.
	Name string
	// Labels are what its runner must have; made canonical by Submit.
	Labels []string
	// Run is a script for sh -e; or
	Run string
	// Command is an argv. One of the two is needed.
	Command []string
	// Env is added to the runner's environment. It is encrypted at rest and
	// told to the runner alone.
	Env map[string]string
	// Timeout of one attempt; 0 means Config.JobTimeout.
	Timeout time.Duration
	// Retries is how often it may run again after its runner was lost.
	Retries int
	// Key makes submitting idempotent, for as long as the job is kept: the same
	// spec with the same key is the same job. Empty: a new job each time.
	Key string
}

// Job is one job as it is now. Zero times: not yet.
type Job struct {
	ID      string
	Name    string
	Labels  []string
	Run     string
	Command []string
	// EnvNames are the names in JobSpec.Env, sorted; the values are not told.
	EnvNames []string
	Timeout  time.Duration
	Retries  int

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

	CreatedAt, StartedAt, FinishedAt, CancelRequestedAt time.Time

	seq         int64
	queuedAt    time.Time
	reservation string
	lease       string
}

// JobEvent is one step of a job's history.
type JobEvent struct {
	// Seq grows; events of one job are in its order.
	Seq     int64
	JobID   string
	At      time.Time
	State   State
	Attempt int
	Runner  string
	Reason  string
}
