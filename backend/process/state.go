package process

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/slipway-ci/slipway/backend"
)

// phase is how far a runner has come. The values are stored: add at the end only.
type phase string

const (
	phaseCreated  phase = "created"  // nothing was started
	phaseSpawning phase = "spawning" // it may have been started
	phaseRunning  phase = "running"
	phaseStopping phase = "stopping"
	phaseEnded    phase = "ended" // no process of it is left

	phaseLost phase = "" // never stored: what is stored can't be read
)

const stateVersion = 1

// state is state.json. Whoever holds the runner's lock writes it. It holds no
// secret.
type state struct {
	Version int               `json:"version"`
	Owner   string            `json:"owner"`
	ID      string            `json:"id"`
	Labels  map[string]string `json:"labels,omitempty"`

	Phase phase `json:"phase"`
	// Boot names the boot of the machine that the processes belong to.
	Boot       string `json:"boot,omitempty"`
	Supervisor ident  `json:"supervisor,omitzero"`
	Main       ident  `json:"main,omitzero"`

	ExitCode *int   `json:"exit_code,omitempty"`
	Error    string `json:"error,omitempty"`

	Created  time.Time `json:"created"`
	Started  time.Time `json:"started,omitzero"`
	Finished time.Time `json:"finished,omitzero"`
}

// begun says that the command was started for certain.
func (s *state) begun() bool { return s.Phase != phaseCreated && s.Phase != phaseSpawning }

// runner tells the state in the contract's words.
func (s *state) runner() backend.Runner {
	r := backend.Runner{
		State: backend.Unknown, ID: s.ID, Labels: s.Labels, Error: s.Error, ExitCode: s.ExitCode,
		Created: s.Created, Started: s.Started, Finished: s.Finished,
	}
	switch s.Phase {
	case phaseCreated, phaseSpawning:
		r.State = backend.Starting
		if s.Error != "" { // the command could not be started
			r.State = backend.Failed
		}
	case phaseRunning:
		r.State = backend.Running
	case phaseStopping:
		r.State = backend.Stopping
	case phaseEnded:
		r.State = backend.Failed
		if s.ExitCode != nil && *s.ExitCode == 0 {
			r.State = backend.Exited
		}
	}
	if !r.State.Ended() { // how it ends is told when all of it has ended
		r.ExitCode, r.Finished, r.Error = nil, time.Time{}, ""
	}
	return r
}

// end notes that the command ended: by the clock never before it started.
func (s *state) end(code *int, text string) {
	s.ExitCode, s.Error, s.Finished = code, text, time.Now()
	if s.Finished.Before(s.Started) {
		s.Finished = s.Started
	}
	if s.Finished.Before(s.Created) {
		s.Finished = s.Created
	}
}

func statePath(dir string) string { return filepath.Join(dir, "state.json") }

func readState(dir string) (*state, error) {
	data, err := os.ReadFile(statePath(dir))
	if err != nil {
		// A near miss: a file where a runner's folder would be, or a folder where
		// its state would be.
		if info, statErr := os.Stat(dir); statErr == nil && !info.IsDir() {
			return nil, errForeign
		}
		if info, statErr := os.Stat(statePath(dir)); statErr == nil && !info.Mode().IsRegular() {
			return nil, errForeign
		}
		return nil, err
	}
	var s state
	if json.Unmarshal(data, &s) != nil || s.Version == 0 {
		return nil, errDamaged
	}
	if s.Version != stateVersion {
		return nil, errForeign
	}
	switch s.Phase {
	case phaseCreated, phaseSpawning, phaseRunning, phaseStopping, phaseEnded:
		return &s, nil
	}
	return nil, errDamaged
}

// write replaces the state in dir. A reader sees the old one or the new one; after
// a power failure, which no runner survives, either.
func (s *state) write(dir string) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	next := statePath(dir) + ".new"
	if err := writeSynced(next, data); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	if err := os.Rename(next, statePath(dir)); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return nil
}

func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}
