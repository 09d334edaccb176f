// Package template holds runner templates: the recipe for one kind of runner,
// the labels it answers to, and which of several templates a job gets.
//
// It imports the standard library alone. Package template/file reads templates
// from YAML.
package template

import "time"

// Template is the recipe for one kind of runner. The zero value of a field
// means the backend's default, or "nothing of the kind", unless the field says
// otherwise. A Template is a value: nothing changes it after validation.
type Template struct {
	// Key names the template: 1 to 255 bytes, unique.
	Key string
	// Labels are what jobs ask for: canonical, see Canonical.
	Labels []string
	// OS and Arch are the platform in Go's words (linux, amd64).
	OS, Arch string

	// Image is what the runner is made from.
	Image string
	// PullPolicy is always, if-not-present (the default), never, or if-older.
	PullPolicy string
	// PullMaxAge goes with if-older: how long ago the last fetch may be; the image's own
	// age says nothing.
	PullMaxAge time.Duration
	// InjectRunner puts the one-job runner program into the image's environment.
	InjectRunner bool
	// Entrypoint and Command replace the image's own when not empty.
	Entrypoint, Command []string
	// Env is added to the runner's environment. It is no place for secrets:
	// every job can read it.
	Env map[string]string
	// User is a name or id, optionally with :group.
	User string

	// CPU is in virtual CPUs, may be fractional, and is above 0.
	CPU float64
	// Memory is in bytes, above 0.
	Memory int64
	// GPUs is how many; -1 means all.
	GPUs int
	// ShmSize is the size of /dev/shm in bytes.
	ShmSize int64
	// PidsLimit bounds processes and threads; -1 means no bound.
	PidsLimit int64

	// Runtime is an OCI runtime by the name that the engine knows.
	Runtime string
	// Network is the network's name.
	Network string
	// Mounts are volumes and binds.
	Mounts []Mount
	// Tmpfs maps a path to its mount options.
	Tmpfs map[string]string
	// CapAdd and CapDrop are Linux capabilities.
	CapAdd, CapDrop []string
	// Privileged gives every capability and device.
	Privileged bool
	// ReadOnly makes the root file system read-only.
	ReadOnly bool
	// AllowNewPrivileges lets processes gain privileges by set-uid programs.
	AllowNewPrivileges bool

	// MaxConcurrency is how many of this template may live at once: 1 to 100000.
	MaxConcurrency int
	// TargetConcurrency is the floor of runners in all, busy ones included:
	// 0 to MaxConcurrency.
	TargetConcurrency int
	// MinIdle is the floor of runners without a job: 0 to MaxConcurrency.
	MinIdle int
	// Cost ranks templates that fit the same job, lowest first; 0 means CPU.
	Cost float64

	// RegistrationDeadline is how long a runner may take from its launch until
	// the control plane knows it; 0 means the loop's default.
	RegistrationDeadline time.Duration
	// MaxLifetime is how long a runner may live; 0 means the loop's default.
	MaxLifetime time.Duration
}

// Mount is one volume or bind.
type Mount struct {
	// Volume is the name of a cache volume, kept when the runner goes; or
	Volume string
	// Bind is a path of the host, under a prefix that the operator allows.
	Bind string
	// Target is the path inside.
	Target string
	// ReadOnly mounts it so.
	ReadOnly bool
}

// EffectiveCost is Cost, or CPU where Cost is 0.
func (t Template) EffectiveCost() float64 {
	if t.Cost > 0 {
		return t.Cost
	}
	return t.CPU
}
