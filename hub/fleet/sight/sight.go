// Package sight says how a fleet tells of a runner, from what its host's agent has
// shown of it and whether that host can be seen now. It decides from values alone.
package sight

import (
	"maps"
	"time"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/internal/wire"
)

// HostLost is the error of runners whose host has been away for too long.
const HostLost = "host-lost"

// Sight is what a listing shows of a runner: values, and what never changes.
type Sight struct {
	// ID is the runner's, Host the name of its host. Labels are those that are told.
	ID, Host string
	Labels   map[string]string
	// Seen is how it was shown last; nil: it never was.
	Seen *wire.Runner
	// Created is when it was launched, for one that its host tells no time of; zero:
	// nobody knows.
	Created time.Time
	// Observed: its host can be seen now, and shows it. Lost: that has been away for too
	// long.
	Observed, Lost bool
}

// State is what a listing tells. What has ended stays so, whoever can be seen.
func (s *Sight) State() backend.State {
	switch {
	case s.Seen != nil && (s.Observed || s.Seen.State.Ended()):
		return s.Seen.State
	case s.Lost:
		return backend.Failed
	}
	return backend.Unknown
}

// Tell is the runner as a listing tells it. It shares nothing with the Sight.
func (s *Sight) Tell() backend.Runner {
	seen := wire.Runner{ID: s.ID}
	if s.Seen != nil {
		seen = *s.Seen
	}
	told := seen.Backend(s.Host)
	told.State, told.Labels = s.State(), maps.Clone(s.Labels)
	if told.Created.IsZero() {
		told.Created = s.Created
	}
	if told.ExitCode != nil {
		told.ExitCode = new(*told.ExitCode)
	}
	switch {
	case s.Observed, seen.State.Ended():
	case s.Lost:
		told.Error, told.Finished = HostLost, time.Time{}
	default:
		told = backend.Runner{ID: told.ID, Labels: told.Labels, Host: told.Host, State: told.State, Created: told.Created}
	}
	return told
}
