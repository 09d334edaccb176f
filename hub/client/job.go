package client

import "time"

// Limits of a JobSpec. The hub checks them, and all others too.
const (
	// MaxScriptBytes bounds Run, and the arguments of Command together.
	MaxScriptBytes = 256 << 10
	// MaxJobTimeout bounds TimeoutSeconds.
	MaxJobTimeout = 7 * 24 * time.Hour
)

// Job is a job as it is answered.
type Job struct {
	JobSummary
	Run      string   `json:"run,omitempty" doc:"the script"`
	Command  []string `json:"command,omitempty" nullable:"false" doc:"the argv"`
	EnvNames []string `json:"env_names" nullable:"false" doc:"names of the variables; their values are not told"`
}

// JobSummary is a job as it is listed: without what it runs, and with which variables,
// for those may be long. Times that have not come are null.
type JobSummary struct {
	ID             string     `json:"id"`
	Name           string     `json:"name"`
	Labels         []string   `json:"labels" nullable:"false"`
	TimeoutSeconds float64    `json:"timeout_seconds"`
	Retries        int        `json:"retries"`
	Status         string     `json:"status" enum:"queued,reserved,launched,running,succeeded,failed,cancelled,timed-out,runner-lost"`
	Reason         string     `json:"reason"`
	Attempt        int        `json:"attempt" doc:"how often it was given to a runner"`
	ExitCode       *int       `json:"exit_code" doc:"null where no process ended"`
	LogBytes       int64      `json:"log_bytes"`
	Runner         string     `json:"runner" doc:"the runner that it is meant for, or ran on"`
	CreatedAt      time.Time  `json:"created_at"`
	StartedAt      *time.Time `json:"started_at"`
	FinishedAt     *time.Time `json:"finished_at"`
	CancelledAt    *time.Time `json:"cancel_requested_at"`
}

// JobSpec is what POST /jobs takes.
type JobSpec struct {
	Labels         []string          `json:"labels" nullable:"false" doc:"what the runner must have: 1 to 20 labels"`
	Run            string            `json:"run,omitempty" doc:"a script for sh -e, at most 256 KiB; or"`
	Command        []string          `json:"command,omitempty" nullable:"false" doc:"an argv; one of the two is needed"`
	Env            map[string]string `json:"env,omitempty" doc:"variables, at most 128 KiB; encrypted at rest, told to the runner alone"`
	TimeoutSeconds float64           `json:"timeout_seconds,omitempty" minimum:"0" maximum:"604800" doc:"of one attempt; 0: the hub's default, one hour"`
	Name           string            `json:"name,omitempty" doc:"for people, at most 200 characters; default: the beginning of what runs"`
	Retries        int               `json:"retries,omitempty" doc:"how often it may run again after its runner was lost; at most 10"`
}

// JobEvent is one step of a job's history.
type JobEvent struct {
	At      time.Time `json:"at"`
	Status  string    `json:"status"`
	Attempt int       `json:"attempt"`
	Runner  string    `json:"runner"`
	Reason  string    `json:"reason"`
}
