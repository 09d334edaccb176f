package client

import "time"

// Host is a machine that runners live on, as it is answered. What only its agent
// can tell is zero until it was connected once.
type Host struct {
	ID            string            `json:"id" doc:"never given to another host"`
	Name          string            `json:"name"`
	Labels        map[string]string `json:"labels" nullable:"false" doc:"what scale sets select hosts by"`
	MaxRunners    int               `json:"max_runners" doc:"the cap that was set; 0: its CPUs"`
	Cap           int               `json:"cap" doc:"the cap in force"`
	Runners       int               `json:"runners" doc:"how many runners take up room"`
	Online        bool              `json:"online" doc:"its agent is connected"`
	Since         *time.Time        `json:"since" doc:"when it came online, or went offline"`
	Ready         bool              `json:"ready" doc:"its list of runners was taken over and its engine can be seen"`
	Cordoned      bool              `json:"cordoned" doc:"it gets no new runners"`
	Draining      bool              `json:"draining" doc:"cordoned, until nothing runs there"`
	DrainDeadline *time.Time        `json:"drain_deadline" doc:"what runs then is ended"`
	Lost          bool              `json:"lost" doc:"away for so long that its slots were given up"`
	NeedsUpdate   bool              `json:"needs_update" doc:"its agent speaks a protocol that this hub does not"`
	Problem       string            `json:"problem" doc:"what is wrong, beginning with a word; empty: nothing"`
	BackingOff    []string          `json:"backing_off" nullable:"false" doc:"why kinds of runners wait there"`
	Isolated      bool              `json:"isolated" doc:"it was asked to have an isolated runtime"`
	AgentVersion  string            `json:"agent_version"`
	UpdateTo      string            `json:"update_to" doc:"the version that its agent is to become; empty: none"`
	UpdateProblem string            `json:"update_problem" doc:"why the last update did not happen"`
	OS            string            `json:"os"`
	Arch          string            `json:"arch"`
	CPUs          int               `json:"cpus"`
	MemoryBytes   int64             `json:"memory_bytes"`
	DiskFree      int64             `json:"disk_free_bytes"`
	DiskTotal     int64             `json:"disk_total_bytes"`
	Runtimes      []string          `json:"runtimes" nullable:"false" doc:"OCI runtimes that its engine knows"`
	GPUs          []GPU             `json:"gpus" nullable:"false"`
	Enrolled      bool              `json:"enrolled" doc:"an agent has its credential"`
	Version       int64             `json:"version" doc:"of what can be edited: its ETag"`
	CreatedAt     time.Time         `json:"created_at"`
	LastSeenAt    *time.Time        `json:"last_seen_at"`
}

// GPU is one device of a host.
type GPU struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// HostSpec is what POST /hosts takes.
type HostSpec struct {
	Name       string            `json:"name" minLength:"1" maxLength:"63" doc:"a-z 0-9 -, with no - at either end; of one host at a time"`
	Labels     map[string]string `json:"labels,omitempty"`
	MaxRunners int               `json:"max_runners,omitempty" minimum:"0" maximum:"10000" doc:"0: its CPUs"`
	Cordoned   bool              `json:"cordoned,omitempty" doc:"add it without giving it runners"`
	Isolated   bool              `json:"isolated,omitempty" doc:"have the script install an isolated runtime"`
	TTLSeconds int64             `json:"ttl_seconds,omitempty" minimum:"0" maximum:"604800" doc:"how long the enrolment can be used; 0: the hub's default, 15 minutes"`
}

// HostEdit is what PATCH /hosts/{name} takes: what is left out stays.
type HostEdit struct {
	Name       *string           `json:"name,omitempty" minLength:"1" maxLength:"63"`
	Labels     map[string]string `json:"labels,omitzero" doc:"all of them; {} for none"`
	MaxRunners *int              `json:"max_runners,omitempty" minimum:"0" maximum:"10000" doc:"0: its CPUs"`
	Cordoned   *bool             `json:"cordoned,omitempty"`
}

// HostFilter says which hosts to list. Zero fields don't filter.
type HostFilter struct {
	// Selector: hosts that have all of these labels. In the query: selector=k=v,
	// repeated.
	Selector map[string]string
	// Limit is how many at most; 0: the hub's default.
	Limit int
	// Cursor is Hosts's next of before.
	Cursor string
}

// ReenrolSpec is what POST /hosts/{name}/reenrol takes.
type ReenrolSpec struct {
	Isolated   *bool `json:"isolated,omitempty" doc:"left out: as it was"`
	TTLSeconds int64 `json:"ttl_seconds,omitempty" minimum:"0" maximum:"604800" doc:"0: the hub's default, 15 minutes"`
}

// DrainSpec is what POST /hosts/{name}/drain takes.
type DrainSpec struct {
	DeadlineSeconds float64 `json:"deadline_seconds,omitempty" minimum:"0" maximum:"604800" doc:"what runs after so long is ended; 0: nothing is ended"`
}

// UpdateSpec is what POST /hosts/{name}/update takes.
type UpdateSpec struct {
	Version string `json:"version,omitempty" maxLength:"100" doc:"the agent's next version; empty: the one that this hub serves"`
}

// UpdateHostsSpec is what POST /hosts/update takes: hosts or all.
type UpdateHostsSpec struct {
	Hosts   []string `json:"hosts,omitempty" nullable:"false" maxItems:"10000" doc:"names; or"`
	All     bool     `json:"all,omitempty"`
	Version string   `json:"version,omitempty" maxLength:"100" doc:"the agents' next version; empty: the one that this hub serves"`
	Canary  int      `json:"canary,omitempty" minimum:"0" maximum:"10000" doc:"so many hosts first; the others, one at a time, when these are back with it; 0: 1"`
}

// Enrolment is a permission to make one machine a host, as it is listed.
type Enrolment struct {
	ID        string     `json:"id"`
	Host      string     `json:"host" doc:"the host's name"`
	HostID    string     `json:"host_id"`
	Isolated  bool       `json:"isolated"`
	CreatedAt time.Time  `json:"created_at"`
	ExpiresAt time.Time  `json:"expires_at"`
	UsedAt    *time.Time `json:"used_at" doc:"null: not yet"`
}

// NewEnrolment is an enrolment with its secret: the line holds it.
type NewEnrolment struct {
	ID        string    `json:"id"`
	Line      string    `json:"line" doc:"to be run on the host; it can't be shown again"`
	ExpiresAt time.Time `json:"expires_at"`
}

// NewHost is what POST /hosts and POST /hosts/{name}/reenrol answer.
type NewHost struct {
	Host
	Enrolment NewEnrolment `json:"enrolment"`
}
