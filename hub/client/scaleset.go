package client

import "time"

// The runtimes of scale sets.
const (
	RuntimeShared   = "shared"
	RuntimeIsolated = "isolated"
)

// ScaleSetSpec is a scale set as it is written, in JSON and in YAML: the fields of
// a template file, its size, and where its runners may live. POST /scale-sets takes
// it with a name, PUT /scale-sets/{name} takes it whole: what is left out gets its
// default. Sizes are numbers of bytes, or text with a unit such as 4GiB.
type ScaleSetSpec struct {
	Labels []string `json:"labels" nullable:"false" minItems:"1" maxItems:"20" doc:"what jobs ask for"`
	Image  string   `json:"image,omitempty"`
	CPU    float64  `json:"cpu" exclusiveMinimum:"0" doc:"in virtual CPUs"`
	Memory any      `json:"memory" doc:"a size"`

	Max               int     `json:"max" minimum:"1" maximum:"100000" doc:"how many runners may live at once"`
	MinIdle           int     `json:"min_idle,omitempty" minimum:"0" maximum:"100000" doc:"so many wait, ready, as long as there is room"`
	TargetConcurrency int     `json:"target_concurrency,omitempty" minimum:"0" maximum:"100000" doc:"the floor of runners in all, busy ones included"`
	Cost              float64 `json:"cost,omitempty" minimum:"0" doc:"ranks what fits the same job, the lowest first; default cpu"`

	Hosts        []string          `json:"hosts,omitempty" nullable:"false" maxItems:"10000" doc:"names of the hosts that it may use; or"`
	Selector     map[string]string `json:"selector,omitempty" doc:"labels that a host must have; without either it has no host"`
	PerHostMax   int               `json:"per_host_max,omitempty" minimum:"0" maximum:"100000" doc:"how many of its runners one host may have; 0: any number"`
	Runtime      string            `json:"runtime,omitempty" enum:"shared,isolated" doc:"default shared; isolated: the host must have an isolating runtime, and it is used"`
	Credential   string            `json:"credential,omitempty" doc:"name of the registry credential for the image"`
	ControlPlane string            `json:"control_plane,omitempty" enum:"queue,shipfox" doc:"where its jobs come from; default queue, this hub's own"`
	MinDiskFree  any               `json:"min_disk_free,omitempty" doc:"a size: hosts with less free disk get none"`

	OS           string         `json:"os,omitempty"`
	Arch         string         `json:"arch,omitempty"`
	PullPolicy   string         `json:"pull_policy,omitempty" doc:"always, if-not-present, never, or a duration such as 24h"`
	InjectRunner bool           `json:"inject_runner,omitempty"`
	Entrypoint   any            `json:"entrypoint,omitempty" doc:"list of words, or one text"`
	Command      any            `json:"command,omitempty" doc:"list of words, or one text"`
	Env          map[string]any `json:"env,omitempty" doc:"text, numbers or booleans; no place for secrets"`
	User         string         `json:"user,omitempty"`

	GPUs      any     `json:"gpus,omitempty" doc:"a number, or all"`
	ShmSize   any     `json:"shm_size,omitempty" doc:"a size"`
	PidsLimit int64   `json:"pids_limit,omitempty" minimum:"-1"`
	Mounts    []Mount `json:"mounts,omitempty" nullable:"false"`
	Tmpfs     any     `json:"tmpfs,omitempty" doc:"map from path to options, or list of paths"`

	Network         string   `json:"network,omitempty"`
	CapDrop         []string `json:"cap_drop,omitempty" nullable:"false"`
	CapAdd          []string `json:"cap_add,omitempty" nullable:"false"`
	Privileged      bool     `json:"privileged,omitempty"`
	ReadOnly        bool     `json:"read_only,omitempty"`
	NoNewPrivileges *bool    `json:"no_new_privileges,omitempty" doc:"default true"`

	RegistrationDeadline string `json:"registration_deadline,omitempty" doc:"a duration such as 90s"`
	MaxLifetime          string `json:"max_lifetime,omitempty" doc:"a duration"`
}

// Mount is a volume or a folder of the host in a runner.
type Mount struct {
	Volume   string `json:"volume,omitempty" doc:"name of a volume; or"`
	Bind     string `json:"bind,omitempty" doc:"a path of the host"`
	Target   string `json:"target"`
	ReadOnly bool   `json:"read_only,omitempty"`
}

// NamedScaleSet is what POST /scale-sets takes.
type NamedScaleSet struct {
	Name string `json:"name" minLength:"1" maxLength:"255"`
	ScaleSetSpec
}

// ScaleSet is a scale set as it is answered.
type ScaleSet struct {
	NamedScaleSet
	Runners   int             `json:"runners" doc:"how many of its runners take up room"`
	Status    *ScaleSetStatus `json:"status,omitempty" doc:"absent where the hub runs no hosts"`
	Version   int64           `json:"version" doc:"its ETag"`
	CreatedAt time.Time       `json:"created_at"`
	UpdatedAt time.Time       `json:"updated_at"`
}

// ScaleSetStatus says how a scale set does, and what to do about it.
type ScaleSetStatus struct {
	Condition string     `json:"condition" enum:"ready,full,failing,blocked" doc:"ready: a host can take its next runner; full: when others end; failing: its runners come to nothing; blocked: no host can take one, whatever ends"`
	Text      string     `json:"text" doc:"one sentence that says what is wrong and what to do; empty with ready"`
	RetryAt   *time.Time `json:"retry_at" doc:"when its next runner is tried after failures; null: it waits for no pause, or that try is under way"`
	// Of its newest runners, since the hub began:
	CrashesInARow int            `json:"crashes_in_a_row" doc:"of its newest runners: how many ended in a row without having come to anything"`
	EndReasons    map[string]int `json:"end_reasons" nullable:"false" doc:"of the newest ends, at most 50: how many for each reason"`
	LastEnd       *RunnerEnd     `json:"last_end" doc:"null: none has ended since the hub began"`
}

// RunnerEnd tells how a runner ended.
type RunnerEnd struct {
	Runner   string    `json:"runner"`
	Host     string    `json:"host" doc:"the host's name; empty: it was not launched"`
	State    string    `json:"state" enum:"stopped,failed,terminated" doc:"by itself, well or not, or by us"`
	Reason   string    `json:"reason" doc:"a word, such as registration-deadline, exit-code or refused"`
	Text     string    `json:"text" doc:"the same for people, with the engine's own words"`
	ExitCode *int      `json:"exit_code"`
	At       time.Time `json:"at"`
}

// ScaleSetFilter says which scale sets to list. Zero fields don't filter.
type ScaleSetFilter struct {
	// Limit is how many at most; 0: the hub's default. Cursor is ScaleSets's next
	// of before.
	Limit  int
	Cursor string
}

// Diff is what POST /scale-sets/apply answers: what was changed, or with dry_run
// what would be.
type Diff struct {
	DryRun    bool     `json:"dry_run"`
	Changes   []Change `json:"changes" nullable:"false" doc:"by name"`
	Unchanged []string `json:"unchanged" nullable:"false" doc:"scale sets of the file that stay as they are"`
	Revision  int64    `json:"revision" doc:"of all scale sets before the changes: for If-Match of what applies this diff"`
	Warnings  []string `json:"warnings" nullable:"false" doc:"what the file has and probably does not mean"`
}

// Change is what a Diff does to one scale set.
type Change struct {
	ScaleSet string        `json:"scale_set"`
	Action   string        `json:"action" enum:"create,edit,delete"`
	Fields   []FieldChange `json:"fields" nullable:"false" doc:"in the order of the reference; of a create, what is set; of a delete, none"`
}

// FieldChange is one field before and after; null: it is not set.
type FieldChange struct {
	Field  string `json:"field"`
	Before any    `json:"before"`
	After  any    `json:"after"`
}

// Verdict says whether a host can get the next runner of a scale set, and why not.
type Verdict struct {
	Host     string `json:"host" doc:"the host's name"`
	HostID   string `json:"host_id"`
	Eligible bool   `json:"eligible"`
	Reason   string `json:"reason" doc:"why not, beginning with a word; of an eligible host empty, or a remark"`
	// LastFailure is told of eligible hosts too.
	LastFailure string     `json:"last_failure" doc:"how the last launch of it failed there, with the engine's words; empty: none did since one succeeded"`
	FailedAt    *time.Time `json:"failed_at" doc:"when; null: none did"`
	RetryAt     *time.Time `json:"retry_at" doc:"when it is tried there again after a failure, or after it said that it has no room; null: it waits for no pause, or that try is under way"`
}
