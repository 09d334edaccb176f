package backend

import (
	"fmt"
	"time"
)

// Spec says what to launch. The zero value of each field but ID means the
// backend's own default, or "nothing of the kind". A backend that can't honour
// a field that is set answers ErrInvalid and names the field, unless the field
// says otherwise.
type Spec struct {
	// ID is the runner's id: a UUIDv7 in its canonical text form, made by the
	// caller, never reused. It is the idempotency key of Launch.
	ID string
	// Labels come back verbatim from List for as long as the runner exists,
	// through restarts of the backend and of its engine. Keys are
	// 1 to 64 characters of a-z 0-9 . _ -. They hold no secret.
	Labels map[string]string
	// Env is the runner's environment, the only place for secrets. No backend
	// tells it back, in a listing, a label, a log or an error. A Spec prints without
	// it, with one exception that Go leaves us: in an unexported field of something
	// that is printed. Hold a *Spec there.
	Env map[string]string

	// Image is what the runner is made from. The process backend ignores it.
	Image string
	// PullPolicy says when Image is fetched; default PullIfNotPresent.
	PullPolicy PullPolicy
	// PullMaxAge goes with PullIfOlder: how long ago the last fetch may be. How old
	// the image itself is says nothing.
	PullMaxAge time.Duration
	// Credential is for the registry of Image, for the pull alone: it is kept in
	// memory, never reaches the runner and is never told back. Nil: the backend's own.
	Credential *Credential
	// OS and Arch ask for a platform, in Go's words (linux, amd64).
	OS, Arch string
	// InjectRunner puts the one-job runner program into the environment and
	// starts it, so that an image without one serves; Entrypoint and Command must be empty then.
	InjectRunner bool
	// Entrypoint and Command replace the image's own when not empty.
	Entrypoint, Command []string
	// User runs the process as this user (name, id, or either with :group).
	User string

	// CPU is in virtual CPUs and may be fractional. A limit where the backend
	// can set one; the process backend can't and ignores it.
	CPU float64
	// Memory is in bytes; a limit as CPU is.
	Memory int64
	// GPUs is how many; -1 means all.
	GPUs int
	// GPUIDs are the devices themselves, by the ids that the engine's GPU tooling
	// knows; where they are set GPUs says nothing more. A fleet sets them.
	GPUIDs []string
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
	// Tmpfs maps a path to its mount options ("size=64m", or nothing).
	Tmpfs map[string]string
	// CapAdd and CapDrop are Linux capabilities, with or without CAP_.
	CapAdd, CapDrop []string
	// Privileged gives the runner every capability and device.
	Privileged bool
	// ReadOnly makes the root file system read-only.
	ReadOnly bool
	// AllowNewPrivileges lets processes gain privileges by set-uid programs.
	AllowNewPrivileges bool
}

// Mount is one volume or bind of a runner.
type Mount struct {
	// Volume is the name of a cache volume, kept when the runner goes; or
	Volume string
	// Bind is a path of the host.
	Bind string
	// Target is the path inside.
	Target string
	// ReadOnly mounts it so.
	ReadOnly bool
}

// PullPolicy says when an image is fetched.
type PullPolicy string

// The pull policies.
const (
	// PullIfNotPresent fetches an image that is not there. The empty policy
	// means the same.
	PullIfNotPresent PullPolicy = "if-not-present"
	// PullAlways asks the registry before each launch.
	PullAlways PullPolicy = "always"
	// PullNever uses what is there, or fails.
	PullNever PullPolicy = "never"
	// PullIfOlder fetches when the last fetch is longer ago than PullMaxAge.
	PullIfOlder PullPolicy = "if-older"
)

// String tells the spec without its environment, which may hold secrets.
func (s Spec) String() string { return fmt.Sprintf("%s (image %q)", s.ID, s.Image) }

// GoString is String, so that %#v tells no secret either.
func (s Spec) GoString() string { return "backend.Spec{" + s.String() + "}" }

// Format makes every verb print String.
func (s Spec) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// MarshalText is String: a spec that slips into JSON or a log tells no secret
// either. Who sends specs has a form of their own for it.
func (s Spec) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Credential is a user of a registry. Its Password is a secret: a Credential
// prints without it, but for one in an unexported field of something that is
// printed. Hold a *Credential there, as Spec does.
type Credential struct {
	// Registry is the registry's host, such as ghcr.io; empty: the image's own.
	Registry string
	// Username and Password are what docker login takes.
	Username, Password string
}

// String tells whose credential it is, without the password.
func (c Credential) String() string { return c.Username + "@" + c.Registry }

// GoString is String.
func (c Credential) GoString() string { return "backend.Credential{" + c.String() + "}" }

// Format makes every verb print String.
func (c Credential) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(c.String())) }

// MarshalText is String: a credential that slips into JSON or a log stays hidden.
func (c Credential) MarshalText() ([]byte, error) { return []byte(c.String()), nil }
