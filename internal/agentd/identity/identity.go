package identity

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/google/uuid"
)

// Identity is who the agent is. Nothing in it is secret. The names are stored: add
// at the end only.
type Identity struct {
	// Agent is the agent's id, a UUIDv7, made once.
	Agent string `json:"agent"`
	// Hub is the URL of the hub that it is enrolled with; empty: with none.
	Hub string `json:"hub,omitempty"`
	// InsecureHTTP: the enrolment allowed a hub that is reached without TLS.
	InsecureHTTP bool `json:"insecure_http,omitempty"`
	// Host and Name are the host's id and its name at the time of the enrolment.
	Host string `json:"host,omitempty"`
	Name string `json:"name,omitempty"`
	// Owner is whose the runners are, as the engine's labels have it.
	Owner string `json:"owner,omitempty"`
	// For is the digest of the one-time token that enrolled it.
	For string `json:"for,omitempty"`
	// Digest is that of the credential that the enrolment gave: a file token with
	// another one is older, or a rotation's.
	Digest string `json:"digest,omitempty"`
	// Former are owners of former enrolments, whose runners may still be there.
	Former []string `json:"former,omitempty"`
	// Engine is the id of the engine that was seen last: what the hub is told
	// while the engine is down.
	Engine string `json:"engine,omitempty"`
}

// Same says whether both are one agent of one host of one hub: what runs for the
// one can go on for the other.
func (i Identity) Same(other Identity) bool {
	return i.Agent == other.Agent && i.Hub == other.Hub && i.Host == other.Host && i.Owner == other.Owner
}

// Enrolled says whether the agent belongs to a host.
func (i Identity) Enrolled() bool { return i.Hub != "" && i.Host != "" && i.Owner != "" }

// Owners are all under whom runners of this agent may be on the engine: of
// enrolments, and of the time as a local agent.
func (i Identity) Owners() []string {
	owners := []string{i.Agent}
	for _, o := range append([]string{i.Owner}, i.Former...) {
		if o != "" && !slices.Contains(owners, o) {
			owners = append(owners, o)
		}
	}
	return owners
}

// Identity reads who the agent is; a folder without one is fs.ErrNotExist.
func (f *Folder) Identity() (Identity, error) {
	data, err := f.Read(identityName)
	if err != nil {
		return Identity{}, err
	}
	var i Identity
	if err := json.Unmarshal(data, &i); err != nil || !valid(i.Agent) {
		return Identity{}, fmt.Errorf("%w: %s is not the identity of an agent", ErrDamaged, f.Join(identityName))
	}
	return i, nil
}

func valid(agent string) bool {
	id, err := uuid.Parse(agent)
	return err == nil && id.String() == agent
}

// Ensure reads who the agent is, and makes an id where there is none yet.
func (f *Folder) Ensure() (i Identity, err error) {
	err = f.change(func() error {
		i, err = f.ensure()
		return err
	})
	return i, err
}

func (f *Folder) ensure() (Identity, error) {
	i, err := f.Identity()
	if !errors.Is(err, fs.ErrNotExist) {
		return i, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return i, fmt.Errorf("make the agent's id: %w", err)
	}
	i = Identity{Agent: id.String()}
	return i, f.save(i)
}

func (f *Folder) save(i Identity) error {
	data, err := json.MarshalIndent(i, "", "  ")
	if err != nil {
		return err
	}
	return f.Write(identityName, append(data, '\n'))
}

// SawEngine notes the engine's id.
func (f *Folder) SawEngine(id string) error {
	return f.change(func() error {
		i, err := f.Identity()
		if err != nil || i.Engine == id {
			return err
		}
		i.Engine = id
		return f.save(i)
	})
}
