package file

import (
	"time"

	"github.com/slipway-ci/slipway/template"
	"github.com/slipway-ci/slipway/template/file/internal/field"
)

// Rendered is a template as programs print it in JSON. The names are those of the
// file where the value is the file's; sizes are in bytes and say so. What a
// template leaves to a default of somebody else's is left out.
type Rendered struct {
	Key               string   `json:"key"`
	Labels            []string `json:"labels"`
	Image             string   `json:"image"`
	CPU               float64  `json:"cpu"`
	MemoryBytes       int64    `json:"memory_bytes"`
	MaxConcurrency    int      `json:"max_concurrency"`
	TargetConcurrency int      `json:"target_concurrency"`
	MinIdle           int      `json:"min_idle"`
	// Cost is the one that ranks: CPU where the file gives none.
	Cost float64 `json:"cost"`

	OS           string            `json:"os,omitempty"`
	Arch         string            `json:"arch,omitempty"`
	PullPolicy   string            `json:"pull_policy,omitempty"` // a policy or a duration
	InjectRunner bool              `json:"inject_runner,omitempty"`
	Entrypoint   []string          `json:"entrypoint,omitempty"`
	Command      []string          `json:"command,omitempty"`
	Env          map[string]string `json:"env,omitempty"`
	User         string            `json:"user,omitempty"`

	// GPUs is a number, or "all".
	GPUs         any               `json:"gpus,omitempty"`
	ShmSizeBytes int64             `json:"shm_size_bytes,omitempty"`
	PidsLimit    int64             `json:"pids_limit,omitempty"`
	Mounts       []RenderedMount   `json:"mounts,omitempty"`
	Tmpfs        map[string]string `json:"tmpfs,omitempty"`

	Runtime         string   `json:"runtime,omitempty"`
	Network         string   `json:"network,omitempty"`
	CapDrop         []string `json:"cap_drop,omitempty"`
	CapAdd          []string `json:"cap_add,omitempty"`
	Privileged      bool     `json:"privileged,omitempty"`
	ReadOnly        bool     `json:"read_only,omitempty"`
	NoNewPrivileges bool     `json:"no_new_privileges"`

	RegistrationDeadline string `json:"registration_deadline,omitempty"`
	MaxLifetime          string `json:"max_lifetime,omitempty"`
}

// RenderedMount is a mount of a Rendered.
type RenderedMount struct {
	Volume   string `json:"volume,omitempty"`
	Bind     string `json:"bind,omitempty"`
	Target   string `json:"target"`
	ReadOnly bool   `json:"read_only,omitempty"`
}

// Render is the printable form of a template.
func Render(t template.Template) Rendered {
	r := Rendered{
		Key: t.Key, Labels: t.Labels, Image: t.Image, CPU: t.CPU, MemoryBytes: t.Memory,
		MaxConcurrency: t.MaxConcurrency, TargetConcurrency: t.TargetConcurrency, MinIdle: t.MinIdle,
		Cost: t.EffectiveCost(),
		OS:   t.OS, Arch: t.Arch, PullPolicy: t.PullPolicy, InjectRunner: t.InjectRunner,
		Entrypoint: t.Entrypoint, Command: t.Command, Env: t.Env, User: t.User,
		ShmSizeBytes: t.ShmSize, PidsLimit: t.PidsLimit, Tmpfs: t.Tmpfs,
		Runtime: t.Runtime, Network: t.Network, CapDrop: t.CapDrop, CapAdd: t.CapAdd,
		Privileged: t.Privileged, ReadOnly: t.ReadOnly, NoNewPrivileges: !t.AllowNewPrivileges,
		RegistrationDeadline: durationText(t.RegistrationDeadline), MaxLifetime: durationText(t.MaxLifetime),
	}
	if t.PullPolicy == field.PullIfOlder {
		r.PullPolicy = durationText(t.PullMaxAge)
	}
	switch {
	case t.GPUs < 0:
		r.GPUs = "all"
	case t.GPUs > 0:
		r.GPUs = t.GPUs
	}
	for _, m := range t.Mounts {
		r.Mounts = append(r.Mounts, RenderedMount(m))
	}
	return r
}

func durationText(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

// Rendered are the printable forms of the file's templates, in order.
func (f *File) Rendered() []Rendered {
	out := make([]Rendered, len(f.Templates))
	for i, t := range f.Templates {
		out[i] = Render(t)
	}
	return out
}
