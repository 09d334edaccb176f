package wire

import (
	"maps"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/tokens"
)

// Runner is one runner as an agent sees it.
type Runner struct {
	ID        string            `json:"id"`
	Labels    map[string]string `json:"labels,omitempty"`
	State     backend.State     `json:"state"`
	ExitCode  *int              `json:"exit_code,omitempty"`
	OOMKilled bool              `json:"oom_killed,omitempty"`
	Error     string            `json:"error,omitempty"`
	Created   time.Time         `json:"created,omitzero"`
	Started   time.Time         `json:"started,omitzero"`
	Finished  time.Time         `json:"finished,omitzero"`
}

// FromRunner makes a runner fit to be sent: texts are clipped, and cleaned of
// tokens. Labels that no hub of ours can have set (they are too long) are left out.
func FromRunner(r backend.Runner) Runner {
	sent := Runner{
		ID: r.ID, Labels: maps.Clone(r.Labels), State: r.State, ExitCode: r.ExitCode, OOMKilled: r.OOMKilled, Error: text(r.Error),
		Created: stamp(r.Created), Started: stamp(r.Started), Finished: stamp(r.Finished),
	}
	if sent.Size() > MaxRunner {
		sent.Labels = nil
	}
	return sent
}

// Backend is the runner, living on host.
func (r Runner) Backend(host string) backend.Runner {
	return backend.Runner{
		ID: r.ID, Labels: r.Labels, State: r.State, Host: host, ExitCode: r.ExitCode, OOMKilled: r.OOMKilled, Error: r.Error,
		Created: r.Created, Started: r.Started, Finished: r.Finished,
	}
}

// Size is how many bytes its labels and texts have.
func (r Runner) Size() int {
	size := len(r.ID) + len(r.Error)
	for k, v := range r.Labels {
		size += len(k) + len(v)
	}
	return size
}

var states = map[backend.State]bool{
	backend.Starting: true, backend.Running: true, backend.Stopping: true, backend.Exited: true, backend.Failed: true, backend.Unknown: true,
}

func (r *Runner) check() error {
	if r.ID == "" || !states[r.State] {
		return errMissing
	}
	return within(len(r.ID) <= MaxID && len(r.Error) <= MaxText && r.Size() <= MaxRunner)
}

// stamp keeps of a time what survives the way: no monotonic reading, no zone.
func stamp(t time.Time) time.Time {
	if t.IsZero() || t.Year() < 1 || t.Year() > 9999 { // RFC 3339 has four digits
		return time.Time{}
	}
	return t.Round(0).UTC()
}

// text makes a text of others fit to be sent.
func text(s string) string {
	return clip(tokens.Redact(strings.ToValidUTF8(s, "\uFFFD")), MaxText)
}
