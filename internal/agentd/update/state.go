package update

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/slipway-ci/slipway/internal/agentd/identity"
)

const (
	stateName = "update.json"
	binName   = "bin"
)

// build is one version of the program; the zero build is the installed one.
type build struct {
	Version string `json:"version,omitempty"`
	SHA256  string `json:"sha256,omitempty"`
}

// state is update.json. The names are stored: add at the end only.
type state struct {
	// Over is the SHA-256 of the installed program that all of this lies over.
	Over string `json:"over,omitempty"`
	// Active is what runs, Before what ran before it.
	Active build `json:"active,omitzero"`
	Before build `json:"before,omitzero"`
	// Pending: the hub has not welcomed Active yet. Starts are how often it began.
	Pending bool      `json:"pending,omitempty"`
	Starts  int       `json:"starts,omitempty"`
	Since   time.Time `json:"since,omitzero"`
	// Problem is why the last update went back.
	Problem string `json:"problem,omitempty"`
}

func load(folder *identity.Folder) (state, error) {
	data, err := folder.Read(stateName)
	if errors.Is(err, fs.ErrNotExist) {
		return state{}, nil
	}
	if err != nil {
		return state{}, err
	}
	var s state
	if err := json.Unmarshal(data, &s); err != nil || !s.Active.ok() || !s.Before.ok() {
		return state{}, fmt.Errorf("%w: %s", identity.ErrDamaged, folder.Join(stateName))
	}
	return s, nil
}

func save(folder *identity.Folder, s state) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return folder.Write(stateName, append(data, '\n'))
}

// ok says whether the build is the installed one or has a name that is a file's.
func (b build) ok() bool {
	return b == build{} || len(b.SHA256) == 64 && filepath.Base(b.SHA256) == b.SHA256
}

// path is where the build lies; empty for the installed one.
func (b build) path(folder *identity.Folder) string {
	if b == (build{}) {
		return ""
	}
	return folder.Join(binName, "slipway-agent-"+b.SHA256[:16])
}

// name is the build for people.
func (b build) name() string {
	if b == (build{}) {
		return "the installed program"
	}
	return b.Version
}

// back makes the build before the active one again.
func (s *state) back(reason string) {
	s.Problem = fmt.Sprintf("%s: %s; back to %s", s.Active.name(), reason, s.Before.name())
	s.Active, s.Before, s.Pending, s.Starts, s.Since = s.Before, build{}, false, 0, time.Time{}
}
