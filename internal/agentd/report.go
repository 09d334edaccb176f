package agentd

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/slipway-ci/slipway/backend"
	"github.com/slipway-ci/slipway/internal/agentd/identity"
)

// report is what a running agent says of itself, in the file status.json of its
// data folder. Nothing in it is secret.
type report struct {
	Version       string                `json:"version"`
	PID           int                   `json:"pid"`
	Supervisor    supervisor            `json:"supervisor,omitempty"`
	Started       time.Time             `json:"started"`
	Hub           string                `json:"hub"`
	Connected     bool                  `json:"connected"`
	Since         time.Time             `json:"since"`
	Sessions      uint64                `json:"sessions"`
	Removed       bool                  `json:"removed,omitempty"`
	Refused       bool                  `json:"refused,omitempty"` // the credential, by the hub
	Backend       string                `json:"backend"`
	Engine        string                `json:"engine,omitempty"`
	EngineProblem string                `json:"engine_problem,omitempty"`
	Runners       map[backend.State]int `json:"runners"`
	Policy        string                `json:"policy"`
	UpdateProblem string                `json:"update_problem,omitempty"`
	OnTrial       bool                  `json:"on_trial,omitempty"`
}

const reportName = "status.json"

// report tells what is known now.
func (p *program) report() report {
	_, problem, states := p.engine.Seen()
	r := report{
		Version: p.version(), PID: os.Getpid(), Supervisor: ourSupervisor(), Hub: p.config.Hub, Backend: p.config.Backend, EngineProblem: problem, Runners: states,
		Policy: p.rules.String(), UpdateProblem: p.updater.Problem(), OnTrial: p.updater.OnTrial(),
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	r.Started, r.Connected, r.Since, r.Sessions, r.Removed = p.started.UTC(), p.connected, p.since.UTC(), p.sessions, p.removed
	r.Refused = !p.out.IsZero()
	r.Engine = describe(p.facts)
	return r
}

// keepReport writes the report if it is another than before.
func (p *program) keepReport(before string) string {
	data, err := json.MarshalIndent(p.report(), "", "  ")
	if err != nil || string(data) == before {
		return before
	}
	if err := p.folder.Write(reportName, append(data, '\n')); err != nil {
		p.log.Warn("the status can't be kept", "err", err)
		return before
	}
	return string(data)
}

func (p *program) forgetReport() { _ = os.Remove(p.folder.Join(reportName)) }

// reported reads the report of the agent that runs with a folder; nil: none runs.
func reported(folder *identity.Folder) (*report, error) {
	if !folder.Locked() {
		return nil, nil
	}
	data, err := folder.Read(reportName)
	if errors.Is(err, fs.ErrNotExist) {
		return &report{}, nil // it begins just now
	}
	if err != nil {
		return nil, err
	}
	var r report
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, err
	}
	return &r, nil
}
