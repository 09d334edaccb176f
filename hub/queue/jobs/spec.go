package jobs

import "time"

// Spec is what a job is to be.
type Spec struct {
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
	// Timeout of one attempt; 0 means Config.Timeout.
	Timeout time.Duration
	// Retries is how often it may run again after its runner was lost.
	Retries int
	// Key makes submitting idempotent, for as long as the job is kept: the same
	// spec with the same key is the same job. Empty: a new job each time.
	Key string
}
