package docker

import (
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/slipway-ci/slipway/backend"
)

// phase is what of a container's life lets its details stay as they are.
type phase int

const (
	phaseRuns phase = iota + 1
	phaseEnded
)

// phaseOf reads the engine's word for a state; "created" has no details. A
// container that is being removed, or whose removal failed ("dead"), has ended:
// the engine uses these words only when no process is left.
func phaseOf(state string) phase {
	switch state {
	case container.StateRunning, container.StatePaused, container.StateRestarting:
		return phaseRuns
	}
	return phaseEnded
}

// detail is what only inspecting tells.
type detail struct {
	phase                      phase
	state                      backend.State
	exitCode                   *int
	oomKilled                  bool
	err                        string
	created, started, finished time.Time
}

func detailOf(c container.InspectResponse) detail {
	d := detail{phase: phaseOf(c.State.Status), created: instant(c.Created), started: instant(c.State.StartedAt)}
	switch {
	case c.State.Status == container.StateCreated:
		d.phase, d.state = 0, backend.Starting
	case d.phase == phaseRuns:
		d.state = backend.Running
	case d.started.IsZero():
		d.state, d.err = backend.Failed, "removed before it was started"
	default:
		code := c.State.ExitCode
		d.state, d.exitCode = backend.Exited, &code
		if code != 0 {
			d.state = backend.Failed
		}
		d.oomKilled, d.err = c.State.OOMKilled, c.State.Error
		d.finished = instant(c.State.FinishedAt)
		if d.finished.Before(d.started) {
			// The engine notes the start when the process runs already: one that
			// ends at once has ended before.
			d.finished = d.started
		}
	}
	return d
}

func (d detail) fill(r *backend.Runner) {
	r.State, r.OOMKilled, r.Error = d.state, d.oomKilled, d.err
	r.Created, r.Started, r.Finished = d.created, d.started, d.finished
	if d.exitCode != nil {
		code := *d.exitCode
		r.ExitCode = &code
	}
}

// instant reads the engine's time; its zero, and what is no time, is zero.
func instant(text string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || t.Year() <= 1 {
		return time.Time{}
	}
	return t
}
