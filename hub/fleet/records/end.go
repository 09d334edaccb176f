package records

import (
	"time"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/internal/wire"
)

// End is how a runner ended, as its host told it. It is stored as Record is.
type End struct {
	State     backend.State `json:"state"`
	ExitCode  *int          `json:"exit_code,omitempty"`
	OOMKilled bool          `json:"oom_killed,omitempty"`
	Error     string        `json:"error,omitempty"`
	Started   time.Time     `json:"started,omitzero"`
	Finished  time.Time     `json:"finished,omitzero"`
}

// EndOf is the end of a runner that was seen so; nil: it has not ended.
func EndOf(seen *wire.Runner) *End {
	if !seen.State.Ended() {
		return nil
	}
	return &End{seen.State, seen.ExitCode, seen.OOMKilled, seen.Error, seen.Started, seen.Finished}
}

// Seen is how the runner was seen last, if it had ended; nil: nobody knows.
func (r Record) Seen() *wire.Runner {
	e := r.End
	if e == nil || !e.State.Ended() {
		return nil
	}
	return &wire.Runner{
		ID: r.Runner, State: e.State, ExitCode: e.ExitCode, OOMKilled: e.OOMKilled, Error: e.Error, Created: r.Created, Started: e.Started, Finished: e.Finished,
	}
}
