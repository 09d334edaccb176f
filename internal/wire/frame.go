package wire

import (
	"fmt"
	"time"
)

// Type says what a frame is.
type Type string

// The types. Hello, welcome, ping, pong, bye, update and the answer to it are the
// same in every version of the protocol. The values are sent: add at the end only.
const (
	// Hello is the agent's first frame.
	Hello Type = "hello"
	// Welcome is the hub's answer to it.
	Welcome Type = "welcome"
	// Ping is the hub's heartbeat, Pong the agent's answer.
	Ping Type = "ping"
	Pong Type = "pong"
	// Bye tells why the sender ends the connection now.
	Bye Type = "bye"

	// Runners is the agent's full list, or a part of it.
	Runners Type = "runners"
	// Changes is what became different since.
	Changes Type = "changes"
	// Blind says that the agent can't observe its engine.
	Blind Type = "blind"
	// Answer ends a request.
	Answer Type = "answer"
	// Chunk is a piece of a log.
	Chunk Type = "chunk"

	// Launch, Remove, List, Prepare and Logs are the hub's requests.
	Launch  Type = "launch"
	Remove  Type = "remove"
	List    Type = "list"
	Prepare Type = "prepare"
	Logs    Type = "logs"
	// Cancel says that nobody waits for a request any more.
	Cancel Type = "cancel"

	// Rotate asks the agent to make itself a new token, and for its digest. Update
	// asks it to bring itself to a version. Stats asks how busy the host is.
	Rotate Type = "rotate"
	Update Type = "update"
	Stats  Type = "stats"
	// Facts is what has become different of a host since hello.
	Facts Type = "facts"
)

// Frame is one message. Which fields are set depends on the type; the rest of
// the struct is empty.
type Frame struct {
	Type Type `json:"type"`
	// Epoch is the connection's, as welcome told it: in every frame of an agent
	// but hello.
	Epoch uint64 `json:"epoch,omitempty"`
	// ID names a request and all that belongs to it.
	ID uint64 `json:"id,omitempty"`
	// TimeoutMS is how long, from its receipt, a request may take.
	TimeoutMS int64 `json:"timeout_ms,omitempty"`

	Hello   *Greeting `json:"hello,omitempty"`   // hello
	Welcome *Terms    `json:"welcome,omitempty"` // welcome
	Spec    *Spec     `json:"spec,omitempty"`    // launch, prepare
	Runner  string    `json:"runner,omitempty"`  // remove, logs
	Tail    int       `json:"tail,omitempty"`    // logs
	List    *Listed   `json:"runners,omitempty"` // runners
	Changes *Changed  `json:"changes,omitempty"` // changes
	Error   *Error    `json:"error,omitempty"`   // answer, bye, blind; none in an answer means success
	Data    []byte    `json:"data,omitempty"`    // chunk

	Digest  string     `json:"digest,omitempty"`  // answer to a rotate: SHA-256 of the new token, in hex
	Version string     `json:"version,omitempty"` // update
	Stats   *Usage     `json:"stats,omitempty"`   // answer to a stats
	Facts   *HostFacts `json:"facts,omitempty"`   // facts
}

// Greeting is who an agent is.
type Greeting struct {
	// Protocol is the newest version that the agent speaks.
	Protocol int `json:"protocol"`
	// Agent is the agent's stable id; Engine that of the engine behind it, empty
	// where it has none.
	Agent  string `json:"agent"`
	Engine string `json:"engine,omitempty"`
	// Instance is random, made anew at each start of the agent, and the same for all
	// its connections: by it two that live at once are told from one that was started
	// anew. Empty: it does not say.
	Instance string `json:"instance,omitempty"`
	// Version is the agent's build, for display.
	Version string    `json:"version,omitempty"`
	Facts   HostFacts `json:"facts"`
}

// HostFacts describe a host.
type HostFacts struct {
	OS   string `json:"os,omitempty"`
	Arch string `json:"arch,omitempty"`
	CPUs int    `json:"cpus,omitempty"`
	// Memory is in bytes.
	Memory int64 `json:"memory,omitempty"`
	// Runtimes are the engine's, by the names that a spec's runtime may have.
	Runtimes []string `json:"runtimes,omitempty"`
	// GPUs are the devices that may be given to runners.
	GPUs []GPU `json:"gpus,omitempty"`
	// Disk is where the engine keeps images and runners; all zero: not known.
	Disk Disk `json:"disk,omitzero"`
	// EngineVersion is for display.
	EngineVersion string `json:"engine_version,omitempty"`
	// MaxRunners is what the host's own policy allows at once; 0: it sets no bound.
	MaxRunners int `json:"max_runners,omitempty"`
	// UpdateForbidden: the host's own policy does not let the hub update the agent.
	UpdateForbidden bool `json:"update_forbidden,omitempty"`
	// Hints are free text about the engine and the host.
	Hints map[string]string `json:"hints,omitempty"`
}

// GPU is one device. Its id is what the engine's GPU tooling knows it by.
type GPU struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
}

// Disk is how full a disk is, in bytes.
type Disk struct {
	Free  int64 `json:"free"`
	Total int64 `json:"total"`
}

// Usage is how busy a host is.
type Usage struct {
	// CPUs is how many are busy, such as 3.2.
	CPUs float64 `json:"cpus,omitempty"`
	// Memory is how many bytes are in use.
	Memory int64 `json:"memory,omitempty"`
	// Load is the load average of the last minute.
	Load float64 `json:"load,omitempty"`
	// Disk is as in the facts; all zero: not known.
	Disk Disk `json:"disk,omitzero"`
}

// Terms are what a connection goes by.
type Terms struct {
	// Protocol is the version that was agreed on; 0 with NeedsUpdate.
	Protocol int `json:"protocol"`
	// Epoch is the connection's number among those of its host.
	Epoch uint64 `json:"epoch"`
	// HeartbeatMS is the hub's pace: the time between two pings. Silence of twice
	// that ends the connection, on both sides.
	HeartbeatMS int64 `json:"heartbeat_ms"`
	// NeedsUpdate: the versions are too far apart. The connection stays, and
	// nothing but heartbeats goes over it.
	NeedsUpdate bool `json:"needs_update,omitempty"`
	// Hub is the hub's build, for display.
	Hub string `json:"hub,omitempty"`
}

// Heartbeat is the time between two pings.
func (t Terms) Heartbeat() time.Duration { return time.Duration(t.HeartbeatMS) * time.Millisecond }

// Listed is a full list, in one part or several.
type Listed struct {
	// Runners of this part.
	Runners []Runner `json:"runners"`
	// Undecided are the ids of launches that may still become a runner. In the
	// last part.
	Undecided []string `json:"undecided,omitempty"`
	// Last ends the list: with it, what was in no part is not on this host.
	Last bool `json:"last,omitempty"`
}

// Changed is what became different since the full list or the last changes.
type Changed struct {
	// Runners that are new or different, whole.
	Runners []Runner `json:"runners,omitempty"`
	// Gone are ids that are not there any more, or were undecided and never came.
	Gone []string `json:"gone,omitempty"`
}

// Timeout is how long the request may take; 0: it does not say.
func (f Frame) Timeout() time.Duration { return time.Duration(f.TimeoutMS) * time.Millisecond }

// String tells the frame's type and number: its content may hold secrets.
func (f Frame) String() string {
	if f.ID == 0 {
		return string(f.Type)
	}
	return fmt.Sprintf("%s %d", f.Type, f.ID)
}

// GoString is String.
func (f Frame) GoString() string { return "wire.Frame{" + f.String() + "}" }

// Format makes every verb print String.
func (f Frame) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(f.String())) }
