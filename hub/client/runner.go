package client

import "time"

// Runner is one runner of the fleet, as it is answered.
type Runner struct {
	ID        string     `json:"id"`
	ScaleSet  string     `json:"scale_set"`
	Host      string     `json:"host" doc:"the host's name"`
	HostID    string     `json:"host_id"`
	State     string     `json:"state" enum:"starting,running,stopping,exited,failed,unknown" doc:"unknown: its host can't be asked now"`
	Job       string     `json:"job" doc:"the job of this hub's queue that it runs or ran; empty: none, or not known"`
	ExitCode  *int       `json:"exit_code" doc:"null where no process ended"`
	Error     string     `json:"error" doc:"the engine's own words on why it failed"`
	CreatedAt *time.Time `json:"created_at" doc:"null: not known, as of one that an earlier hub launched on a host that is away"`
	StartedAt *time.Time `json:"started_at"`
	EndedAt   *time.Time `json:"ended_at"`
}

// Ended says whether the runner's process has ended.
func (r Runner) Ended() bool { return r.State == "exited" || r.State == "failed" }

// RunnerFilter says which runners to list. Zero fields don't filter.
type RunnerFilter struct {
	// Host and ScaleSet are names; ErrInvalid: there is no such one.
	Host, ScaleSet string
	// State is one of Runner's.
	State string
	// Limit is how many at most; 0: the hub's default. Cursor is Runners's next of
	// before.
	Limit  int
	Cursor string
}
